"""What an author gets wrong is said when the agent is put together, and nothing else happens by then."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from agent_manager.protocol.commands import BUILT_IN
from agent_manager.sdk import Agent, DefinitionError


async def nothing() -> None: ...


def echo(params: dict[str, Any]) -> dict[str, Any]:
    return params


def test_decorators_return_the_function_itself() -> None:
    agent = Agent()
    assert agent.command("echo")(echo) is echo
    for decorator in (agent.on_start, agent.on_stop, agent.on_config, agent.health, agent.background):
        assert decorator(nothing) is nothing


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_built_in_command_cannot_be_replaced(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"{name!r} is built in"):
        Agent().command(name)(echo)


def test_a_command_is_defined_once() -> None:
    agent = Agent()
    agent.command("echo")(echo)
    with pytest.raises(DefinitionError, match="'echo' is defined twice"):
        agent.command("echo")(echo)


@pytest.mark.parametrize("name", ["", "x" * 129, echo])
def test_a_command_needs_a_name(name: Any) -> None:
    with pytest.raises(DefinitionError, match="needs a name"):
        Agent().command(name)(echo)


def test_what_cannot_be_called_is_no_handler() -> None:
    with pytest.raises(DefinitionError, match="needs a function"):
        Agent().command("echo")(None)  # type: ignore[type-var]
    with pytest.raises(DefinitionError, match="needs a function"):
        Agent().on_start(5)  # type: ignore[type-var]


@pytest.mark.parametrize("hook", ["on_start", "on_stop", "on_config", "health"])
def test_a_hook_is_given_once(hook: str) -> None:
    agent = Agent()
    getattr(agent, hook)(nothing)
    with pytest.raises(DefinitionError, match=f"@agent.{hook} is given twice"):
        getattr(agent, hook)(nothing)


def test_a_background_function_that_cannot_be_cancelled_is_refused() -> None:
    with pytest.raises(DefinitionError, match="async def"):
        Agent().background(echo)


@pytest.mark.parametrize("attribute", ["id", "instance_id", "launch_id", "config"])
def test_what_the_environment_holds_is_not_known_before_run(attribute: str) -> None:
    with pytest.raises(DefinitionError, match=r"agent\.run"):
        getattr(Agent(), attribute)


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrent_commands": 0},
        {"stop_grace_s": -1.0},
        {"stop_grace_s": float("nan")},
        {"metrics_interval_s": 0.09},
        {"metrics_interval_s": float("inf")},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(options))):
        Agent(**options)


def test_importing_loads_nothing_heavy_and_making_an_agent_starts_nothing() -> None:
    program = (
        "import sys, threading\n"
        "from agent_manager.sdk import Agent\n"
        "Agent()\n"
        "assert threading.active_count() == 1\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": os.defpath}, check=True, capture_output=True, text=True
    ).stdout.split()
    assert {"nats", "pydantic"} <= set(loaded)
    assert not {"sqlalchemy", "fastapi", "structlog", "pydantic_settings", "yaml", "psutil"} & set(loaded)
