"""A whole terminal: drawn anew in place, keys as they are pressed, and left as it was found."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.keys import SCROLLS, Key, keys_in
from agent_manager.cli.ctl.page import Page


def is_possible() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and not terminal.out().is_dumb_terminal


class Screen:
    """The terminal while it is taken; made by `taken`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._keys: asyncio.Queue[str] = asyncio.Queue()
        self._page = Page()
        self._live = Live(
            self._page, console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._modes: list[int | list[bytes | int]] | None = None

    def show(
        self, *, head: Sequence[RenderableType], body: Sequence[RenderableType], foot: str, pinned: int = 0
    ) -> None:
        """Replace what it shows: `head` and `foot` stay, `body` but its first `pinned` lines scrolls between them."""
        self._page.head, self._page.body, self._page.foot, self._page.pinned = head, body, foot, pinned
        self._live.update(self._page, refresh=True)

    async def key(self) -> str:
        """Wait for the next key but those that scroll, which are heeded here, as is a new size."""
        while (key := await self._keys.get()) in SCROLLS or key is Key.RESIZED:
            self._page.scroll(key)
            self._live.refresh()
        return key

    def enter(self) -> None:
        """Take the terminal."""
        if sys.stdin.isatty():
            self._modes = termios.tcgetattr(sys.stdin)
            # Ctrl-C and Ctrl-Z stay signals.
            tty.setcbreak(sys.stdin, termios.TCSANOW)
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._typed)
        self._live.start()

    def leave(self) -> None:
        """Give it back."""
        self._live.stop()
        if self._modes is not None:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            termios.tcsetattr(sys.stdin, termios.TCSANOW, self._modes)
            self._modes = None

    def resized(self) -> None:
        """The terminal has another size."""
        self._keys.put_nowait(Key.RESIZED)

    def quit(self) -> None:
        """End as if the key had been pressed."""
        self._keys.put_nowait(Key.QUIT)

    def suspend(self) -> None:
        """Ctrl-Z: give the terminal back until the shell lets this program go on."""
        self.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()
        self.resized()

    def _typed(self) -> None:
        try:
            typed = os.read(sys.stdin.fileno(), 1024)
        except OSError:
            typed = b""
        # Nothing is the end of the terminal.
        for key in keys_in(typed.decode(errors="replace")) or ([] if typed else [Key.QUIT]):
            self._keys.put_nowait(key)


@contextmanager
def taken() -> Iterator[Screen]:
    """The terminal, for the time of a block. Needs a running loop."""
    screen, loop = Screen(terminal.out()), asyncio.get_running_loop()
    heeded = {
        signal.SIGWINCH: screen.resized,
        signal.SIGTSTP: screen.suspend,
        signal.SIGTERM: screen.quit,
        signal.SIGHUP: screen.quit,
    }
    for number, heed in heeded.items():
        loop.add_signal_handler(number, heed)
    screen.enter()
    try:
        yield screen
    finally:
        screen.leave()
        for number in heeded:
            loop.remove_signal_handler(number)
