"""All zygotes of a launcher: one for each Python environment that is used, started when it is wanted or expected.

A zygote saves an instance the start of an interpreter and its imports, and is worth nothing else: whatever goes wrong
with one, its instances are executed.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_manager.launcher.becoming import Program
from agent_manager.launcher.children import Children
from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.rotating_file import LogFile
from agent_manager.launcher.zygote_client import ForkRequest, ZygoteClient

MOST_ZYGOTES = 8
"""Of more, the one that has not been used for longest makes room."""

REST_S = 60.0
"""How long one is not started again that has ended before it was of use."""

_LOG_MAX_BYTES = 1024 * 1024
_LOG_FILES = 2
_ROOM_FOR_COMMAND_LINE = 1024
_ROOM_FOR_ENVIRONMENT = 16 * 1024
_ROOM_VARIABLE = "ROOM"
_SCRIPT = str(Path(__file__).with_name("zygote.py"))


@dataclass(frozen=True, slots=True)
class Warmth:
    """What a zygote is made of: its interpreter, the environment it starts with, the modules it imports."""

    python: str
    env: frozenset[tuple[str, str]]
    preload: tuple[str, ...]


class Zygotes:
    """Started on demand or before, replaced when they end, never missed."""

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        pump: PumpClient,
        *,
        env: Mapping[str, str],
        open_files: tuple[int, int],
        log_dir: str,
    ) -> None:
        """`env` is added to the environment of each; `open_files` are the limits instances get."""
        self._loop = loop
        self._children = children
        self._pump = pump
        self._env = env
        self._open_files = open_files
        self._log = LogFile(os.path.join(log_dir, "zygotes.log"), _LOG_MAX_BYTES, _LOG_FILES)
        self._zygotes: dict[Warmth, ZygoteClient] = {}
        self._resting_until: dict[Warmth, float] = {}
        self._ending = False
        children.before_orphans(self._take_answers)

    def fork(self, warmth: Warmth, request: ForkRequest) -> None:
        """Have an instance forked, or refused."""
        zygote = self._zygote(warmth)
        if zygote is None:
            request.on_refused()
        else:
            zygote.fork(request)

    def expect(self, warmth: Warmth) -> None:
        """Have one there before the first instance is asked for, if none has to make room for it."""
        if len(self._zygotes) < MOST_ZYGOTES:
            self._zygote(warmth)

    def resume(self) -> None:
        """Fork again."""
        self._ending = False

    def end(self) -> None:
        """Fork nothing any more; what waits for it is refused."""
        self._ending = True
        for zygote in list(self._zygotes.values()):
            zygote.end("")

    def _zygote(self, warmth: Warmth) -> ZygoteClient | None:
        if self._ending:
            return None
        zygote = self._zygotes.pop(warmth, None) or self._start(warmth)
        if zygote is not None:
            self._zygotes[warmth] = zygote  # as the last: the first is the one not used for longest
        return zygote

    def _start(self, warmth: Warmth) -> ZygoteClient | None:
        if self._resting_until.get(warmth, 0.0) > time.monotonic():
            return None
        if len(self._zygotes) >= MOST_ZYGOTES:
            self._zygotes.pop(next(iter(self._zygotes))).end("")
        try:
            stream_id, output = self._pump.open_stream(self._log)
        except OSError as error:
            self._rest(warmth, str(error))
            return None
        try:
            zygote = ZygoteClient(
                self._loop,
                self._children,
                self._program(warmth, output),
                open_files=self._open_files,
                on_ended=lambda reason: self._on_ended(warmth, zygote, stream_id, reason),
            )
        except OSError as error:
            self._pump.close_stream(stream_id)
            self._rest(warmth, str(error))
            return None
        finally:
            os.close(output)
        return zygote

    def _program(self, warmth: Warmth, output: int) -> Program:
        room = {_ROOM_VARIABLE: "-" * _ROOM_FOR_ENVIRONMENT}
        return Program(
            argv=(warmth.python, _SCRIPT, "-" * _ROOM_FOR_COMMAND_LINE, *warmth.preload),
            env={**dict(warmth.env), **self._env, **room},
            cwd="/",
            stdout=output,
            stderr=output,
        )

    def _take_answers(self) -> None:
        for zygote in self._zygotes.values():
            zygote.take_answers()

    def _on_ended(self, warmth: Warmth, zygote: ZygoteClient, stream_id: int, reason: str) -> None:
        self._pump.close_stream(stream_id)
        if self._zygotes.get(warmth) is zygote:
            del self._zygotes[warmth]
        if reason and not zygote.has_forked:
            self._rest(warmth, reason)

    def _rest(self, warmth: Warmth, reason: str) -> None:
        self._resting_until[warmth] = time.monotonic() + REST_S
        who = f"zygote of {warmth.python} with {', '.join(warmth.preload) or 'nothing beforehand'}"
        warn(f"{who}: {reason} ({self._log.path}); agents are executed, it is tried again after {REST_S:g} s")
