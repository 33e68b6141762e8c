"""The class an agent is made with."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from agent_manager.protocol import tracing
from agent_manager.sdk import launch_environment, log_records
from agent_manager.sdk.calling import Function
from agent_manager.sdk.configuration import Configuration
from agent_manager.sdk.definition import Definition
from agent_manager.sdk.ending import ExitCode
from agent_manager.sdk.errors import DefinitionError, LaunchEnvironmentError
from agent_manager.sdk.instance import Options, Parts
from agent_manager.sdk.launch_environment import Identity
from agent_manager.sdk.lifetime import live
from agent_manager.sdk.metrics import Metrics

_AnyFunction = TypeVar("_AnyFunction", bound=Function)

_log = logging.getLogger(__name__)


class Agent:
    """An agent: functions registered by decorators, and `run`, which serves them until the process is told to stop.

    Functions may be `async def` (run on the event loop, which they must not block) or plain (run in a thread each).
    Nothing is read and nothing connects before `run`.
    """

    def __init__(
        self,
        *,
        max_concurrent_commands: int = 64,
        stop_grace_s: float = 3.0,
        metrics_interval_s: float = 5.0,
    ) -> None:
        """Raises DefinitionError for a value out of range.

        `max_concurrent_commands`: own commands carried out at once; more are refused as `busy`.
        `stop_grace_s`: how long those running may go on after SIGTERM; less than `stop.timeout_s` of the manifest.
        `metrics_interval_s`: seconds between two reports of metrics that changed, at least 0.1: managers take no more.
        """
        if max_concurrent_commands < 1:
            raise DefinitionError(f"max_concurrent_commands must be at least 1, not {max_concurrent_commands!r}")
        _check_seconds("stop_grace_s", stop_grace_s, at_least=0.0)
        _check_seconds("metrics_interval_s", metrics_interval_s, at_least=0.1)
        self._options = Options(
            max_concurrent_commands=max_concurrent_commands,
            stop_grace_s=stop_grace_s,
            metrics_interval_s=metrics_interval_s,
        )
        self._definition = Definition()
        self._launch: Parts | None = None
        self.metrics = Metrics()

    # ---------------------------------------------------------------- what an author registers

    def command(self, name: str) -> Callable[[_AnyFunction], _AnyFunction]:
        """Decorator: carry out the command `name`. The function is given its params and returns what JSON can hold.

        It may raise CommandError to refuse; any other exception is answered as `internal`. Raises DefinitionError for a
        name that is built in or taken.
        """

        def register(function: _AnyFunction) -> _AnyFunction:
            self._definition.add_command(name, function)
            return function

        return register

    def on_start(self, function: _AnyFunction) -> _AnyFunction:
        """Decorator: run once when connected. The agent is `starting` until it returns; an exception ends it."""
        return self._hook("on_start", function)

    def on_stop(self, function: _AnyFunction) -> _AnyFunction:
        """Decorator: run once at the end, after the last command, if `on_start` returned."""
        return self._hook("on_stop", function)

    def on_config(self, function: _AnyFunction) -> _AnyFunction:
        """Decorator: given a new configuration before it comes into force; an exception keeps the former one."""
        return self._hook("on_config", function)

    def health(self, function: _AnyFunction) -> _AnyFunction:
        """Decorator: asked how the agent is. False or an exception is unhealthy; a mapping is passed on as detail."""
        return self._hook("health", function)

    def background(self, function: _AnyFunction) -> _AnyFunction:
        """Decorator: a coroutine function run after `on_start`, cancelled at the end; an exception ends the agent."""
        self._definition.add_background(function)
        return function

    # ---------------------------------------------------------------- what an author reads

    @property
    def id(self) -> str:
        """The agent's id. Raises DefinitionError before `run`, as do the other properties."""
        return self._identity.agent_id

    @property
    def instance_id(self) -> str:
        """Which of the agent's instances this process is."""
        return self._identity.instance_id

    @property
    def launch_id(self) -> str:
        """Unique per process."""
        return self._identity.launch_id

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration in force, read-only. A new one is another mapping: do not keep it."""
        return self._running.configuration.present

    @property
    def trace_headers(self) -> dict[str, str]:
        """Headers for requests of your own, so that they belong to the command being carried out; empty outside one.

        `traceparent` (W3C Trace Context) and `X-Request-Id`, for HTTP and NATS alike.
        """
        return tracing.carried()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a second one kills. To be called in the main thread.

        Logs to stderr unless the root logger has handlers already. Raises SystemExit with 1 when `on_start` or a
        background coroutine failed, 75 when the bus refuses this launch for good, 78 when the environment is wrong.
        """
        log_records.configure()
        try:
            settings = launch_environment.read(os.environ)
        except LaunchEnvironmentError as error:
            _log.error("%s", error)
            raise SystemExit(ExitCode.MISCONFIGURED) from error
        for remark in settings.remarks:
            _log.warning("%s", remark)
        self._launch = Parts(
            definition=self._definition,
            options=self._options,
            settings=settings,
            metrics=self.metrics,
            configuration=Configuration(settings.config, self._definition.on_config),
        )
        exit_code = asyncio.run(live(self._launch))
        if exit_code is not ExitCode.CLEAN:
            raise SystemExit(exit_code)

    @property
    def _running(self) -> Parts:
        if self._launch is None:
            raise DefinitionError(
                "id and config are known once agent.run() has read the environment; use them in a hook"
            )
        return self._launch

    @property
    def _identity(self) -> Identity:
        return self._running.settings.identity

    def _hook(self, name: str, function: _AnyFunction) -> _AnyFunction:
        self._definition.set_hook(name, function)
        return function


def _check_seconds(name: str, value: float, *, at_least: float) -> None:
    if not (math.isfinite(value) and value >= at_least):
        raise DefinitionError(f"{name} must be at least {at_least:g} seconds, not {value!r}")
