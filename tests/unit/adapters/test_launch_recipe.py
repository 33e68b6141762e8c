"""What exactly is executed for a launch."""

from __future__ import annotations

import json
import pwd
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from agent_manager.adapters.launch_recipe import LaunchRecipe, ProcessStart, ZygoteStart
from agent_manager.domain.instances import Instance, Launch, Target
from agent_manager.domain.specification import AgentSpec, HeartbeatPolicy, LogPolicy, Runtime
from agent_manager.settings.manager import secret_variables
from tests.harness.domain import SPEC


def recipe_of(inherited: Mapping[str, str]) -> LaunchRecipe:
    return LaunchRecipe(
        node_id="node-1",
        bus={"NATS_URL": "nats://127.0.0.1:4222"},
        python="/venv/bin/python",
        output_stem=lambda name: f"/logs/{name}",
        inherited=inherited,
    )


def prepared(spec: AgentSpec = SPEC, **inherited: str) -> ProcessStart:
    recipe = recipe_of(inherited)
    launch = Launch(launch_id="launch1", incarnation=7, restart_serial=0, spec=spec, asked_at=0.0)
    instance = Instance(agent_id="echo", ordinal=2, target=Target(run=True, spec=spec), launch=launch)
    return recipe.prepare(instance, launch, "/credentials/launch1.creds")


def test_the_environment_says_who_the_launch_is_and_where_the_bus() -> None:
    spec = replace(SPEC, type="worker", config={"greeting": "hallo", "deep": {"list": [1, None]}})
    environment = prepared(spec).environment
    assert json.loads(environment["AGENT_CONFIG"]) == spec.config
    assert {name: value for name, value in environment.items() if name != "AGENT_CONFIG"} == {
        "AGENT_ID": "echo",
        "AGENT_NAME": "echo",
        "AGENT_TYPE": "worker",
        "AGENT_VERSION": "1.0.0",
        "AGENT_INSTANCE_ID": "echo_2",
        "AGENT_LAUNCH_ID": "launch1",
        "AGENT_NODE_ID": "node-1",
        "AGENT_INCARNATION": "7",
        "AGENT_HEARTBEAT_INTERVAL_S": "5",
        "NATS_URL": "nats://127.0.0.1:4222",
        "NATS_CREDS": "/credentials/launch1.creds",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }


def test_the_manifest_overrides_what_is_inherited() -> None:
    spec = replace(SPEC, env={"MODE": "manifest", "PYTHONUNBUFFERED": ""})
    environment = prepared(spec, MODE="inherited", PATH="/bin").environment
    assert (environment["MODE"], environment["PATH"], environment["PYTHONUNBUFFERED"]) == ("manifest", "/bin", "")


@pytest.mark.parametrize("heartbeat", [HeartbeatPolicy(), None])
def test_nobody_overrides_the_identity_of_a_launch(heartbeat: HeartbeatPolicy | None) -> None:
    names = {name for name in prepared().environment if name.startswith(("AGENT_", "NATS_"))}
    forged = dict.fromkeys(names, "forged")
    environment = prepared(replace(SPEC, heartbeat=heartbeat, env=forged), **forged).environment
    assert "forged" not in environment.values()
    assert ("AGENT_HEARTBEAT_INTERVAL_S" in environment) is (heartbeat is not None)


def test_settings_of_the_product_are_not_inherited() -> None:
    environment = prepared(AGENT_MANAGER_DATABASE_URL="secret", MANAGEMENT_API_PORT="8000", HOME="/root").environment
    assert not [name for name in environment if name.startswith(("AGENT_MANAGER_", "MANAGEMENT_API_"))]
    assert environment["HOME"] == "/root"


def test_secrets_of_the_product_are_not_inherited_under_any_name() -> None:
    recipe = LaunchRecipe(
        node_id="node-1",
        bus={},
        python="python",
        output_stem=str,
        inherited={"DATABASE_URL": "postgresql://u:p@h/d", "JWT_SECRET": "s", "HOME": "/root"},
        withheld=secret_variables(),
    )
    launch = Launch(launch_id="launch1", incarnation=7, restart_serial=0, spec=SPEC, asked_at=0.0)
    instance = Instance(agent_id="echo", ordinal=2, target=Target(run=True, spec=SPEC), launch=launch)
    environment = recipe.prepare(instance, launch, "creds").environment
    assert {"DATABASE_URL", "JWT_SECRET"}.isdisjoint(environment)
    assert environment["HOME"] == "/root"


def test_an_entrypoint_is_run_by_the_interpreter_of_the_manager() -> None:
    assert prepared(replace(SPEC, entrypoint="src/agent.py")).argv == (
        "/venv/bin/python",
        "/packages/echo/src/agent.py",
    )


def test_a_command_is_run_as_it_is() -> None:
    assert prepared(replace(SPEC, entrypoint=None, command=("node", "a.js"))).argv == ("node", "a.js")


def test_directory_and_output_are_those_of_the_instance() -> None:
    start = prepared(replace(SPEC, working_directory="/elsewhere", logs=LogPolicy(max_bytes=1, files=2)))
    assert start.working_directory == "/elsewhere"
    assert start.output == {"out": "/logs/echo_2.out.log", "err": "/logs/echo_2.err.log"}
    assert start.logs == LogPolicy(max_bytes=1, files=2)


def test_python_agents_share_a_zygote_unless_python_itself_reads_what_they_set() -> None:
    python = replace(SPEC, entrypoint="agent.py")
    surroundings = {"HOME": "/root", "SECRET": "s", "LANG": "C"}
    shared = ZygoteStart(
        environment={"HOME": "/root", "LANG": "C", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
        preload=("nats.aio.client", "agent_manager.sdk.rehearsal"),
    )
    assert prepared(python, **surroundings).zygote == shared
    assert prepared(replace(python, env={"MODE": "mine"}), **surroundings).zygote == shared
    own = prepared(replace(python, env={"PYTHONHASHSEED": "1"}), **surroundings).zygote
    assert own is not None
    assert own.environment["PYTHONHASHSEED"] == "1"


def test_what_is_imported_beforehand_may_read_every_variable_but_those_of_the_launch() -> None:
    python = replace(SPEC, entrypoint="agent.py", preload=("numpy",), env={"OMP_NUM_THREADS": "1"})
    assert prepared(python, HOME="/root").zygote == ZygoteStart(
        environment={
            "HOME": "/root",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
        },
        preload=("nats.aio.client", "agent_manager.sdk.rehearsal", "numpy"),
    )


def test_the_zygote_that_packages_share_is_known_before_any_launch() -> None:
    python = replace(SPEC, entrypoint="agent.py", env={"MODE": "mine"})
    inherited = {"HOME": "/root", "SECRET": "s"}
    shared = recipe_of(inherited).shared_zygote(python)
    assert shared is not None
    assert shared == prepared(python, **inherited).zygote


@pytest.mark.parametrize(
    "of_its_own",
    [
        {"environment": "/environments/one"},
        {"preload": ("numpy",)},
        {"env": {"TZ": "UTC"}},
        {"run_as": "nobody"},
        {"runtime": Runtime.EXEC},
        {"entrypoint": None, "command": ("node", "agent.js")},
    ],
)
def test_a_package_that_brings_something_of_its_own_does_not_share_it(of_its_own: dict[str, Any]) -> None:
    python = replace(SPEC, entrypoint="agent.py")
    assert recipe_of({}).shared_zygote(replace(python, **of_its_own)) is None


def test_other_programs_have_no_zygote() -> None:
    assert prepared(replace(SPEC, command=("node", "agent.js"), entrypoint=None)).zygote is None
    assert prepared(replace(SPEC, entrypoint="agent.py", runtime=Runtime.EXEC)).zygote is None


def test_who_runs_as_somebody_finds_that_users_home() -> None:
    start = prepared(replace(SPEC, run_as="nobody:0"), HOME="/root", USER="root")
    assert start.user is not None
    assert (start.user.uid, start.user.gid) == (pwd.getpwnam("nobody").pw_uid, 0)
    assert (start.environment["USER"], start.environment["HOME"]) == ("nobody", pwd.getpwnam("nobody").pw_dir)
    assert prepared(replace(SPEC, run_as="nobody", env={"HOME": "/mine"})).environment["HOME"] == "/mine"


@pytest.mark.parametrize(
    ("run_as", "complaint"),
    [("no-such-user", "has no user no-such-user"), ("nobody:no-such-group", "has no group no-such-group")],
)
def test_a_user_that_does_not_exist_is_named(run_as: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        prepared(replace(SPEC, run_as=run_as))
