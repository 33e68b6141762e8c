"""What an author registered: hooks, background coroutines and command handlers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

from agent_manager.protocol.commands import BUILT_IN
from agent_manager.sdk.calling import Function
from agent_manager.sdk.errors import DefinitionError

MAX_COMMAND_NAME = 128
"""Longest name of a command in characters, as an envelope carries it."""


@dataclass(kw_only=True, slots=True)
class Definition:
    """An agent's functions. Hooks are None where the author has none."""

    on_start: Function | None = None
    on_stop: Function | None = None
    on_config: Function | None = None
    health: Function | None = None
    backgrounds: list[Function] = field(default_factory=list)
    commands: dict[str, Function] = field(default_factory=dict)

    def set_hook(self, name: str, function: Function) -> None:
        """Set the hook `name`. Raises DefinitionError when it is set already or `function` cannot be called."""
        if getattr(self, name) is not None:
            raise DefinitionError(f"@agent.{name} is given twice; an agent has one")
        _check_callable(f"@agent.{name}", function)
        setattr(self, name, function)

    def add_background(self, function: Function) -> None:
        """Add a background coroutine function. Raises DefinitionError for any other: it could not be stopped."""
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"@agent.background needs an `async def` function, not {function!r}")
        self.backgrounds.append(function)

    def add_command(self, name: str, function: Function) -> None:
        """Add a command. Raises DefinitionError for a name that is built in, taken, empty or too long."""
        if not isinstance(name, str) or not 0 < len(name) <= MAX_COMMAND_NAME:
            raise DefinitionError(
                f'@agent.command("name") needs a name of 1 to {MAX_COMMAND_NAME} characters, not {name!r}'
            )
        if name in BUILT_IN:
            raise DefinitionError(
                f"command {name!r} is built in and cannot be replaced; built in are {', '.join(sorted(BUILT_IN))}"
            )
        if name in self.commands:
            raise DefinitionError(f"command {name!r} is defined twice")
        _check_callable(f"command {name!r}", function)
        self.commands[name] = function


def _check_callable(what: str, function: object) -> None:
    if not callable(function):
        raise DefinitionError(f"{what} needs a function, not {function!r}")
