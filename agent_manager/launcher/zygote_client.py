"""The launcher's side of one zygote: what it is asked to fork, and what becomes of that."""

import json
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from agent_manager.launcher.becoming import Program
from agent_manager.launcher.children import Children
from agent_manager.launcher.descriptor_passing import receive_with_sender
from agent_manager.launcher.event_loop import EventLoop, Timer
from agent_manager.launcher.exits import Exit
from agent_manager.launcher.spawning import ExecStatus, SpawnFailure

_PATIENCE_S = 10.0
_MOST_AT_ONCE = 32
_ANSWER_LIMIT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRequest:
    """An instance to be forked, and whom to tell what becomes of it.

    Either `on_refused` is called, or `on_forked` with the pid, and then the other two as for any child.
    """

    program: Program
    on_forked: Callable[[int], None]
    on_refused: Callable[[], None]
    on_started: Callable[[SpawnFailure | None], None]
    on_exit: Callable[[Exit], None]


class ZygoteClient:
    """A running zygote."""

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        program: Program,
        *,
        open_files: tuple[int, int],
        on_ended: Callable[[str], None],
    ) -> None:
        """Start it. `on_ended` is told what was wrong with it, which may be nothing. Raises OSError."""
        self.has_forked = False
        self._loop = loop
        self._children = children
        self._open_files = open_files
        self._on_ended = on_ended
        self._waiting: deque[ForkRequest] = deque()
        self._asked: dict[socket.socket, ForkRequest] = {}
        self._failure: SpawnFailure | None = None
        self._over: str | None = None
        self._hang: Timer | None = None
        with ExitStack() as undo:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._control.close)
            self._control.setblocking(False)
            with theirs:
                self._pid = children.start(
                    replace(program, control=theirs.fileno()), on_started=self._on_started, on_exit=self._on_exit
                )
            undo.pop_all()

    def fork(self, request: ForkRequest) -> None:
        """Have an instance forked, or refused."""
        self._waiting.append(request)
        self._ask()

    def end(self, reason: str) -> None:
        """End it; what it has not forked yet is refused."""
        self._over = reason
        self._children.signal(self._pid, signal.SIGKILL)
        self._settle()

    def take_answers(self) -> None:
        """Hear what the instances have said so far."""
        for answers in list(self._asked):
            self._take_answer(answers)
        self._ask()

    def _ask(self) -> None:
        while self._waiting and len(self._asked) < _MOST_AT_ONCE and self._over is None:
            request = self._waiting.popleft()
            try:
                self._send(request)
            except OSError:
                request.on_refused()
        if self._hang is None:
            self._expect_progress()

    def _send(self, request: ForkRequest) -> None:
        program = request.program
        given = [each for each in (program.stdout, program.stderr, program.cgroup) if each is not None]
        order = {
            "descriptors": len(given),
            "has_cgroup": program.cgroup is not None,
            "argv": program.argv,
            "env": dict(program.env),
            "cwd": program.cwd,
            "launcher_pid": os.getpid(),
            "open_files": self._open_files,
            "limits": asdict(program.limits),
            "no_new_privileges": program.no_new_privileges,
            "bounded_by_cgroup": sorted(program.bounded_by_cgroup),
        }
        with ExitStack() as given_away:
            file = os.memfd_create("order")
            given_away.callback(os.close, file)
            with open(file, "w", encoding="ascii", closefd=False) as text:
                json.dump(order, text)
            os.lseek(file, 0, os.SEEK_SET)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            given_away.enter_context(theirs)
            with ExitStack() as undo:
                undo.callback(ours.close)
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                ours.setblocking(False)
                socket.send_fds(ours, [b"order"], [file, *given])
                socket.send_fds(self._control, [b"fork"], [theirs.fileno(), *_birthplace(program)])
                self._loop.watch(ours.fileno(), lambda: self._on_answer(ours))
                undo.pop_all()
        self._asked[ours] = request

    def _on_answer(self, answers: socket.socket) -> None:
        self._take_answer(answers)
        self._ask()

    def _take_answer(self, answers: socket.socket) -> None:
        try:
            data, pid = receive_with_sender(answers, _ANSWER_LIMIT_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, pid = b"", None
        request = self._asked.pop(answers)
        self._expect_progress()
        self._loop.unwatch(answers.fileno())
        if data and pid:
            self.has_forked = True
            request.on_forked(pid)
            status = ExecStatus(answers.detach())
            self._children.adopt(pid, status, on_started=request.on_started, on_exit=request.on_exit)
        else:
            answers.close()
            request.on_refused()

    def _expect_progress(self) -> None:
        if self._hang is not None:
            self._hang.cancel()
        self._hang = self._loop.call_later(_PATIENCE_S, self._on_hang) if self._asked else None

    def _on_hang(self) -> None:
        self.end(f"has forked nothing for {_PATIENCE_S:g} s")

    def _settle(self) -> None:
        """Nothing is forked any more: whoever has not answered by now will not be able to, and end."""
        for answers in list(self._asked):
            answers.shutdown(socket.SHUT_RD)
            self._take_answer(answers)
        self._expect_progress()
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.on_refused()

    def _on_started(self, failure: SpawnFailure | None) -> None:
        self._failure = failure

    def _on_exit(self, ended: Exit) -> None:
        if self._over is None:
            # With 0 it has ended by itself: what it had imported is no longer what lies on the disk.
            self._over = "" if ended.code == 0 else str(self._failure or f"ended with {ended}")
        self._control.close()
        self._settle()
        self._on_ended(self._over)


def _birthplace(program: Program) -> list[int]:
    """The cgroup it may be born in; none where it bounds what is in it: others wait for what an instance comes from."""
    limits = program.limits
    is_bounded = any(bound is not None for bound in (limits.memory_bytes, limits.cpu, limits.processes))
    return [] if program.cgroup is None or is_bounded else [program.cgroup]
