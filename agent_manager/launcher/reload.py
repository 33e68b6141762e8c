"""The launcher gives its place to the version that is installed now, and what it watches over does not notice.

First the new version is tried: a child of it reads what would be handed over, others do what the services' table wants
done before they are replaced. Where one fails, all goes on as it was.
Then the services of the node that are to be replaced end, nothing is started or written any more for a moment, and the
process executes the new version, with the same children and their open output.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
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
from agent_manager.launcher.services import Services
from agent_manager.launcher.shutdown import Shutdown
from agent_manager.launcher.spawning import SpawnFailure

CHECK_LIMIT_S = 60.0
"""How long a check of the installed version may take."""
SUSPENSION_LIMIT_S = 120.0
"""How long services and starts may take to come to rest, during which no manager is there."""

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
        services: Services,
        shutdown: Shutdown,
        above: ServiceManager,
        arguments: tuple[str, ...],
        export: Callable[[], tuple[handover.State, list[int]]],
    ) -> None:
        """`arguments` are those of this program; `export` tells its state and the descriptors that belong to it."""
        self._loop = loop
        self._children = children
        self._instances = instances
        self._pump = pump
        self._services = services
        self._shutdown = shutdown
        self._above = above
        self._command = (sys.executable, "-P", "-m", "agent_manager.launcher", *arguments)
        self._export = export
        self._attempt = 0
        self._busy = False
        self._checks: list[Callable[[], None]] = []
        self._turns: list[ServiceRunner] = []
        self._limit: Timer | None = None

    def request(self) -> None:
        """Begin, unless it has begun, or the end has."""
        if self._busy or self._shutdown.begun:
            return
        self._busy = True
        self._attempt += 1
        if self._services.all_ready:
            self._above.reloading()
        self._checks = [self._examine_handover]
        for runner in self._services.runners:
            service = runner.service
            if service.prepare is not None:
                self._checks.append(partial(self._check, service.prepare, runner.env, service.cwd))
        self._next_check()

    def _next_check(self) -> None:
        if self._shutdown.begun:
            return
        if not self._checks:
            self._suspend()
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
        failures: list[SpawnFailure] = []
        try:
            pid = self._children.start(
                program,
                on_started=lambda failure: failures.extend([failure] if failure is not None else []),
                on_exit=lambda ended: self._on_checked(ended, failures, words, limit),
            )
        except OSError:
            os.close(words)
            raise
        limit = self._loop.call_later(CHECK_LIMIT_S, partial(self._children.signal, pid, signal.SIGKILL))

    def _on_checked(self, ended: Exit, failures: list[SpawnFailure], words: int, limit: Timer) -> None:
        limit.cancel()
        said = os.pread(words, _WORDS_LIMIT_BYTES, max(0, os.fstat(words).st_size - _WORDS_LIMIT_BYTES))
        os.close(words)
        if ended.code == 0:
            self._next_check()
            return
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        what = [str(failure) for failure in failures] or [str(ended), *last]
        self._refuse("; ".join(["the installed version cannot take over", *what]))

    def _suspend(self) -> None:
        self._limit = self._loop.call_later(SUSPENSION_LIMIT_S, self._on_too_long)
        self._turns = [runner for runner in self._services.runners if not runner.service.kept]
        self._next_turn(self._attempt)

    def _next_turn(self, attempt: int) -> None:
        if self._is_over(attempt):
            return
        if self._turns:
            self._turns.pop().suspend(partial(self._next_turn, attempt))
        else:
            self._instances.when_none_starts(partial(self._silence, attempt))

    def _silence(self, attempt: int) -> None:
        if not self._is_over(attempt):
            # In a round of its own: this one may have more signals to tell.
            self._pump.end(lambda: self._loop.call_later(0.0, partial(self._replace, attempt)), completely=False)

    def _replace(self, attempt: int) -> None:
        if self._is_over(attempt):
            return
        # A signal that comes from now on waits for the handlers of the next; one that has come may be for the end.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._loop.dispatch_signals()
        if self._shutdown.begun:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return
        inherited: list[int] = []
        try:
            state, descriptors = self._export()
            inherited = [handover.write(state), *descriptors]
            handover.let_through(inherited)
            os.execv(self._command[0], (*self._command, "--resume", str(inherited[0])))
        except OSError as error:
            handover.keep_back(inherited[1:])
            for descriptor in inherited[:1]:
                os.close(descriptor)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._go_on(f"{self._command[0]}: {error.strerror}")

    def _is_over(self, attempt: int) -> bool:
        """Whether the end has begun meanwhile, or this attempt was given up: what it waited for comes too late."""
        return self._shutdown.begun or attempt != self._attempt

    def _on_too_long(self) -> None:
        if not self._shutdown.begun:
            self._go_on(f"services, starts or output have not come to rest within {SUSPENSION_LIMIT_S:g} s")

    def _go_on(self, reason: str) -> None:
        self._attempt += 1
        self._pump.go_on()
        self._instances.start_again()
        for runner in self._services.runners:
            runner.resume()
        self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        self._busy = False
        if self._limit is not None:
            self._limit.cancel()
        warn(f"reload: {reason}; everything goes on as it was")
        if self._services.all_ready:
            self._above.ready()
        self._services.tell_refusal(reason)
