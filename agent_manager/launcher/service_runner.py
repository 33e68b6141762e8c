"""One service of the node: started, watched until it is ready, started again when it ends, stopped at last."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from agent_manager.launcher.becoming import Program
from agent_manager.launcher.children import Children
from agent_manager.launcher.controller import Controller
from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import EventLoop, Timer
from agent_manager.launcher.exits import Exit
from agent_manager.launcher.fields import Fields, count
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.restarts import Restarter
from agent_manager.launcher.rotating_file import LogFile
from agent_manager.launcher.run_tag import RunTag
from agent_manager.launcher.service_manager import VARIABLES
from agent_manager.launcher.service_table import ControllerReady, Service, TcpReady
from agent_manager.launcher.spawning import SpawnFailure
from agent_manager.launcher.tcp_probe import TcpProbe

_LOG_MAX_BYTES = 10 * 1024 * 1024
_LOG_FILES = 5
_LAST_WORDS_S = 2.0

Callback = Callable[[], None]


class ServiceRunner:
    """Keeps one service running until it is retired."""

    def __init__(
        self,
        service: Service,
        *,
        loop: EventLoop,
        children: Children,
        pump: PumpClient,
        controller: Controller,
        tag: RunTag,
        log_dir: str,
    ) -> None:
        self.service = service
        self.pid: int | None = None
        self._loop = loop
        self._children = children
        self._pump = pump
        self._controller = controller
        self.env = {key: value for key, value in service.env.items() if key not in VARIABLES} | tag.environment
        self._log = LogFile(os.path.join(log_dir, f"{service.name}.log"), _LOG_MAX_BYTES, _LOG_FILES)
        self._restarter = Restarter(loop, self._start)
        self._probe = TcpProbe(loop, service.ready, self._become_ready) if isinstance(service.ready, TcpReady) else None
        self._stream: int | None = None
        self._failure: SpawnFailure | None = None
        self._ready = False
        self._retired = False
        self._kill_timer: Timer | None = None
        self._on_ready: Callback | None = None
        self._on_started: Callback = _ignore
        self._on_stopped: Callback = _ignore

    @property
    def is_controller(self) -> bool:
        """Whether this is the manager."""
        return isinstance(self.service.ready, ControllerReady)

    def start(self, *, on_ready: Callback, on_started: Callback) -> None:
        """Start it, unless it is retired. `on_ready` is called once, `on_started` whenever it has a new pid."""
        if self._retired:
            return
        self._on_ready = on_ready
        self._on_started = on_started
        if self.pid is None:
            self._restarter.start()
        else:
            self._become_ready()

    def reload(self) -> None:
        """Have it read its configuration again, if it can. What is not ready yet has only just begun to read it."""
        if self.pid is not None and self._ready and not self._retired and self.service.reload_signal is not None:
            self._children.signal(self.pid, self.service.reload_signal)

    def retire(self) -> None:
        """Do not start it any more."""
        self._retired = True
        self._restarter.cancel()

    def suspend(self, on_suspended: Callback) -> None:
        """Have it end, so that another version can begin, and call back when it has. The agents run on."""
        self.retire()
        if self.pid is None:
            on_suspended()
            return
        self._on_stopped = on_suspended
        self._children.signal(self.pid, signal.SIGTERM if self.is_controller else self.service.stop_signal)
        self._kill_after(self.service.stop_timeout_s)

    def resume(self) -> None:
        """Start it again that was suspended, now or when it has ended; nothing happens to one that was not."""
        if self._retired:
            self._retired = False
            if self.pid is None:
                self._restarter.start()

    def export(self) -> dict[str, Any] | None:
        """What `restore` takes; None where nothing runs that is to be kept."""
        return {"pid": self.pid, "stream": self._stream} if self.service.kept and self.pid is not None else None

    def restore(self, fields: Fields) -> None:
        """Take over the process of an earlier launcher. Raises FieldError."""
        self.pid = fields.get("pid", count)
        self._stream = fields.optional("stream", count)
        self._children.adopt(self.pid, None, on_started=self._on_executed, on_exit=self._on_exit)

    def stop(self, on_stopped: Callback) -> None:
        """Retire it, ask it to end, kill it after its time, and call back when it has ended."""
        self.retire()
        if self.pid is None:
            on_stopped()
            return
        self._on_stopped = on_stopped
        if self.is_controller:
            self._controller.shut_down(hurry=False)
        else:
            self._children.signal(self.pid, self.service.stop_signal)
        self._kill_after(self.service.stop_timeout_s)

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self.pid is not None:
            self._children.signal_group(self.pid, signal.SIGKILL)

    def _start(self) -> None:
        try:
            with ExitStack() as given_away:
                self.pid = self._children.start(
                    self._program(given_away), on_started=self._on_executed, on_exit=self._on_exit
                )
        except OSError as error:
            self._end(f"could not be started: {error}")
            return
        self._on_started()

    def _program(self, given_away: ExitStack) -> Program:
        output: int | None = None
        if self.service.output == "log":
            self._stream, output = self._pump.open_stream(self._log)
            given_away.callback(os.close, output)
        control: int | None = None
        if isinstance(self.service.ready, ControllerReady):
            control = given_away.enter_context(
                self._controller.connect(
                    self.service.ready, on_ready=self._become_ready, on_failed=self._on_connection_failed
                )
            ).fileno()
        return Program(
            argv=self.service.argv,
            env=self.env,
            cwd=self.service.cwd,
            stdout=output,
            stderr=output,
            control=control,
        )

    def _on_executed(self, failure: SpawnFailure | None) -> None:
        self._failure = failure
        if failure is not None:
            return
        if self.service.ready is None:
            self._become_ready()
        elif self._probe is not None:
            self._probe.start()

    def _become_ready(self) -> None:
        self._ready = True
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()

    def _on_connection_failed(self, reason: str | None) -> None:
        if reason is None:
            # A manager that dies of an error of its own closes the connection before it says what went wrong.
            self._kill_after(_LAST_WORDS_S)
            return
        warn(f"service {self.service.name}: {reason}: killed")
        self.kill()

    def _kill_after(self, seconds: float) -> None:
        if self._kill_timer is None or self._kill_timer.cancelled:
            self._kill_timer = self._loop.call_later(seconds, self.kill)

    def _on_exit(self, ended: Exit) -> None:
        self._end(f"ended with {ended}" if self._failure is None else f"could not be started: {self._failure}")

    def _end(self, reason: str) -> None:
        self.pid = None
        self._ready = False
        self._let_go()
        if self._retired:
            self._on_stopped()
        else:
            warn(f"service {self.service.name}: {reason}; starts again in {self._restarter.restart():.1f} s")

    def _let_go(self) -> None:
        if self._stream is not None:
            self._pump.close_stream(self._stream)
            self._stream = None
        if self.is_controller:
            self._controller.disconnect()
        if self._probe is not None:
            self._probe.cancel()
        if self._kill_timer is not None:
            self._kill_timer.cancel()


def _ignore() -> None:
    """Nobody wants to know yet."""
