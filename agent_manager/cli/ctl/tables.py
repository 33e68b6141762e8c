"""Tables of people's size: one line a row, and what matters whole however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

GAP = 2
LEAST_WIDTH = 4
"""Of a column that is cut: fewer characters say nothing."""


class Listing:
    """Headings and rows. Where there is no room columns are cut with …, those named in `whole` never."""

    def __init__(self, *headings: str, whole: Collection[str]) -> None:
        self._rows = [[Text(heading, "bold") for heading in headings]]
        self._whole = [heading in whole for heading in headings]

    def add(self, *cells: Text) -> None:
        """Add a row, a cell for each heading."""
        self._rows.append(list(cells))

    def lines(self, room: int) -> list[Text]:
        """The headings, then a line for each row; not wider than `room` unless what must be whole is."""
        natural = [max(cell.cell_len for cell in column) for column in zip(*self._rows, strict=True)]
        widths = fitted(natural, self._whole, room - GAP * (len(natural) - 1))
        return [_line(row, widths) for row in self._rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines for the console's width."""
        yield from self.lines(options.max_width)


def fitted(natural: Sequence[int], whole: Sequence[bool], room: int) -> list[int]:
    """Widths of columns that together fit into `room`: the widest of those that may be cut give way first.

    None of them becomes narrower than LEAST_WIDTH, so the sum may stay above `room`.
    """
    widths = list(natural)
    may_be_cut = [number for number, is_whole in enumerate(whole) if not is_whole]
    excess = sum(widths) - room
    while excess > 0 and may_be_cut:
        widest = max(may_be_cut, key=widths.__getitem__)
        if widths[widest] <= LEAST_WIDTH:
            break
        next_widest = max((widths[n] for n in may_be_cut if widths[n] < widths[widest]), default=LEAST_WIDTH)
        as_wide = sum(widths[n] == widths[widest] for n in may_be_cut)
        step = min(widths[widest] - max(next_widest, LEAST_WIDTH), max(1, excess // as_wide))
        widths[widest] -= step
        excess -= step
    return widths


def _line(row: Sequence[Text], widths: Sequence[int]) -> Text:
    # Rows of a table that is wider than the terminal are continued by the terminal, not cut by rich.
    line = Text(no_wrap=True, overflow="ignore")
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        shown = cell.copy()
        is_last = number == len(widths) - 1
        shown.truncate(width, overflow="ellipsis", pad=not is_last)
        line.append_text(shown if is_last else shown.append(" " * GAP))
    return line
