"""A screenful: what stays at the top, what is scrolled, and a last line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment

from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.keys import Key


class Page:
    """Drawn for the size of the moment. The body's first `pinned` lines stay, `offset` of the others are above."""

    def __init__(self) -> None:
        self.head: Sequence[RenderableType] = ()
        self.body: Sequence[RenderableType] = ()
        self.foot = ""
        self.pinned = 0
        self.offset = 0
        self._room = 1

    def scroll(self, key: str) -> None:
        """Move the body; by how much the last drawing decides, and the next one how far it goes."""
        steps = {Key.UP: -1, Key.DOWN: 1, Key.PAGE_UP: -self._room, Key.PAGE_DOWN: self._room}
        self.offset = max(0, self.offset + steps.get(Key(key), 0))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many lines as the terminal has, at most."""
        every = _lines(console, options, self.body)
        head = _lines(console, options, self.head) + every[: self.pinned]
        body = every[self.pinned :]
        self._room = max(1, options.size.height - len(head) - 1)
        self.offset = min(self.offset, max(0, len(body) - self._room))
        shown = body[self.offset : self.offset + self._room]
        blank: list[list[Segment]] = [[] for _ in range(self._room - len(shown))]
        for line in (*head, *shown, *blank):
            yield from line
            yield Segment.line()
        where = f"lines {self.offset + 1}-{self.offset + len(shown)} of {len(body)}  " if len(body) > len(shown) else ""
        foot = terminal.text(where + self.foot, "dim")
        foot.truncate(options.max_width, overflow="ellipsis")
        foot.end = ""
        yield foot


def _lines(console: Console, options: ConsoleOptions, parts: Sequence[RenderableType]) -> list[list[Segment]]:
    return console.render_lines(Group(*parts), options.update(height=None), pad=False) if parts else []
