"""The launcher gives its place to the version that is installed now, and what it watches over does not notice.

First the new version is tried: a child of it reads what would be handed over, others do what the services' table wants
done before they are replaced. Where one fails, all goes on as it was.
Then the services of the node that are to be replaced end, nothing is started or written any more for a moment, and the
process executes the new version, with the same children and their open output.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from agent_manager.launcher import handover
from agent_manager.launcher.becoming import CONTROL_DESCRIPTOR, Program
from agent_manager.launcher.children import Children
from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import EventLoop, Timer
from agent_manager.launcher.exits import Exit
from agent_manager.launcher.instances import Instances
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.service_manager import ServiceManager
from agent_manager.launcher.service_runner import ServiceRunner
from agent_manager.launcher.shutdown import Shutdown

CHECK_LIMIT_S = 60.0
"""How long a check of the installed version may take."""
_WORDS_LIMIT_BYTES = 2048


class Reload:
    """Replaces the program of this process, once for every request."""

    def __init__(
        self,
        *,
        loop: EventLoop,
        children: Children,
        instances: Instances,
        pump: PumpClient,
        runners: Sequence[ServiceRunner],
        shutdown: Shutdown,
        above: ServiceManager,
        arguments: tuple[str, ...],
        export: Callable[[], tuple[handover.State, list[int]]],
        on_refused: Callable[[str], None],
    ) -> None:
        """`arguments` are those of this program, `export` tells its state and the descriptors that belong to it.

        `on_refused` is told why everything is as it was.
        """
        self._loop = loop
        self._children = children
        self._instances = instances
        self._pump = pump
        self._runners = runners
        self._shutdown = shutdown
        self._above = above
        self._command = (sys.executable, "-P", "-m", "agent_manager.launcher", *arguments)
        self._export = export
        self._on_refused = on_refused
        self._busy = False
        self._checks: list[Callable[[], None]] = []
        self._turns: list[ServiceRunner] = []

    def request(self) -> None:
        """Begin, unless it has begun, or the end has."""
        if self._busy or self._shutdown.begun:
            return
        self._busy = True
        self._above.reloading()
        self._checks = [self._examine_handover]
        for service in (runner.service for runner in self._runners):
            if service.prepare is not None:
                self._checks.append(partial(self._check, service.prepare, service.env, service.cwd))
        self._next_check()

    def _next_check(self) -> None:
        if self._shutdown.begun:
            return
        if not self._checks:
            self._turns = [runner for runner in self._runners if not runner.service.kept]
            self._next_turn()
            return
        try:
            self._checks.pop(0)()
        except OSError as error:
            self._refuse(str(error))

    def _examine_handover(self) -> None:
        state = handover.write(self._export()[0])
        try:
            self._check((*self._command, "--examine", str(CONTROL_DESCRIPTOR)), os.environ, "/", control=state)
        finally:
            os.close(state)

    def _check(self, argv: tuple[str, ...], env: Mapping[str, str], cwd: str, *, control: int | None = None) -> None:
        """Run a program of the installed version that must end well. Raises OSError."""
        words = os.memfd_create("words")
        program = Program(argv=argv, env=dict(env), cwd=cwd, control=control, stdout=words, stderr=words)
        pid = self._children.start(
            program, on_started=lambda _failure: None, on_exit=lambda ended: self._on_checked(ended, words, limit)
        )
        limit = self._loop.call_later(CHECK_LIMIT_S, partial(self._children.signal, pid, signal.SIGKILL))

    def _on_checked(self, ended: Exit, words: int, limit: Timer) -> None:
        limit.cancel()
        said = os.pread(words, _WORDS_LIMIT_BYTES, max(0, os.fstat(words).st_size - _WORDS_LIMIT_BYTES))
        os.close(words)
        if ended.code == 0:
            self._next_check()
        else:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            self._refuse("; ".join([f"the installed version cannot take over: {ended}", *last]))

    def _next_turn(self) -> None:
        if self._shutdown.begun:
            return
        if self._turns:
            self._turns.pop().suspend(self._next_turn)
        else:
            self._instances.when_none_starts(self._silence)

    def _silence(self) -> None:
        if not self._shutdown.begun:
            self._pump.end(self._replace)

    def _replace(self) -> None:
        if self._shutdown.begun:
            return
        # A signal that comes meanwhile waits for the handlers of the next.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            state, descriptors = self._export()
            descriptor = handover.write(state)
            handover.let_through(descriptors)
            os.execv(self._command[0], (*self._command, "--resume", str(descriptor)))
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._pump.start()
            self._go_on()
            self._refuse(f"{self._command[0]}: {error.strerror}")

    def _go_on(self) -> None:
        self._instances.start_again()
        for runner in self._runners:
            runner.resume()

    def _refuse(self, reason: str) -> None:
        self._busy = False
        warn(f"reload: {reason}; everything goes on as it was")
        self._above.ready()
        self._on_refused(reason)
