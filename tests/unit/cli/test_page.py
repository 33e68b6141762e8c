"""A screenful: as many lines as the terminal has, whatever is to be shown."""

from __future__ import annotations

import io

from rich.console import Console

from agent_manager.cli.ctl.keys import Key, keys_in
from agent_manager.cli.ctl.page import Page


def drawn(page: Page, *, width: int = 40, height: int = 6) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(page, end="")
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().split("\n")]


def page_of(lines: int, *, pinned: int = 0) -> Page:
    page = Page()
    page.head, page.foot, page.pinned = ["head"], "foot", pinned
    page.body = [str(number) for number in range(lines)]
    return page


def test_what_is_short_is_followed_by_the_last_line_at_the_bottom() -> None:
    assert drawn(page_of(2)) == ["head", "0", "1", "", "", "foot"]


def test_what_is_long_is_scrolled_and_stops_at_both_ends() -> None:
    page = page_of(10)
    assert drawn(page) == ["head", "0", "1", "2", "3", "lines 1-4 of 10  foot"]
    page.scroll(Key.DOWN)
    assert drawn(page)[1] == "1"
    page.scroll(Key.PAGE_DOWN)
    page.scroll(Key.PAGE_DOWN)
    assert drawn(page) == ["head", "6", "7", "8", "9", "lines 7-10 of 10  foot"]
    for _ in range(4):
        page.scroll(Key.PAGE_UP)
    assert drawn(page)[1] == "0"


def test_headings_stay_while_rows_scroll() -> None:
    page = page_of(10, pinned=1)
    page.scroll(Key.PAGE_DOWN)
    drawn(page)
    page.scroll(Key.PAGE_DOWN)
    assert drawn(page)[:3] == ["head", "0", "5"]


def test_a_smaller_window_shows_less_of_the_same() -> None:
    page = page_of(10)
    drawn(page)
    assert drawn(page, width=8, height=3) == ["head", "0", "lines 1…"]


def test_keys_are_told_from_what_a_terminal_sends() -> None:
    assert keys_in("c\x1b[A\x1b[6~\x1bOBq\x1b[99~\x1b") == ["c", Key.UP, Key.PAGE_DOWN, Key.DOWN, Key.QUIT]
