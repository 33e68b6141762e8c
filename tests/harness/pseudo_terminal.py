"""A terminal of a size, with a program in it."""

from __future__ import annotations

import asyncio
import codecs
import os
import pty
import re
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.harness.waiting import eventually

ENTERED = "\x1b[?1049h"
LEFT = "\x1b[?1049l"
HOME = "\x1b[H"


class PseudoTerminal:
    """What a program writes is kept in full; `keys` are pressed, `resize` is what a window does."""

    def __init__(self, controller: int, process: Process) -> None:
        self.process = process
        self.written = ""
        self._controller = controller
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.set_blocking(controller, False)
        asyncio.get_running_loop().add_reader(controller, self._read)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._controller, keys.encode())

    def resize(self, *, columns: int, lines: int) -> None:
        """The window gets another size; its program is told by SIGWINCH."""
        termios.tcsetwinsize(self._controller, (lines, columns))

    def is_raw(self) -> bool:
        """Whether keys come one by one."""
        return not termios.tcgetattr(self._controller)[3] & termios.ICANON

    @property
    def screen(self) -> list[str]:
        """The lines of the last picture that is complete, without colours; empty while there is none."""
        pictures = self.written.split(HOME)[1:]
        shown = [p for p in pictures if p.strip()]
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown[-1]).replace("\r", "").split("\n") if shown else []

    async def shows(self, words: str) -> None:
        """Wait until the picture has `words` in it."""
        try:
            await eventually(lambda: any(words in line for line in self.screen))
        except TimeoutError:
            raise AssertionError(f"{words!r} is not on the screen:\n" + "\n".join(self.screen)) from None

    def rest(self) -> str:
        """Everything a program has written that has ended."""
        while self._read():
            pass
        return self.written

    def _read(self) -> bool:
        try:
            data = os.read(self._controller, 65_536)
        except BlockingIOError:
            return False
        self.written += self._decoder.decode(data)
        return bool(data)

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._controller)


@asynccontextmanager
async def in_a_terminal(
    command: Sequence[str], *, environment: Mapping[str, str], columns: int = 100, lines: int = 24
) -> AsyncIterator[PseudoTerminal]:
    """Run it with all three streams on a terminal; killed where it outlives the block."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (lines, columns))
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"TERM": "xterm-256color", **environment},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(terminal), os.O_RDWR)),
    )
    screen = PseudoTerminal(controller, process)
    try:
        yield screen
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        screen.close()
        os.close(controller)
        os.close(terminal)
