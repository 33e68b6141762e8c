"""Tables: what matters stays whole, the rest is cut with …, and nothing is folded."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from agent_manager.cli.ctl.tables import LEAST_WIDTH, Listing, fitted

COLUMNS = st.lists(st.tuples(st.integers(0, 200), st.booleans()), min_size=1, max_size=8)


def listing() -> Listing:
    made = Listing("ID", "REASON", "PATH", whole=("ID",))
    made.add(Text("a-rather-long-id"), Text("exited with code 3"), Text("/srv/agent_packages/a"))
    return made


def printed(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(listing(), crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_with_room_nothing_is_cut_and_no_line_ends_with_blanks() -> None:
    assert printed(100) == [
        "ID                REASON              PATH",
        "a-rather-long-id  exited with code 3  /srv/agent_packages/a",
    ]


def test_where_it_is_narrow_the_widest_column_gives_way_and_what_matters_does_not() -> None:
    assert printed(44) == ["ID                REASON        PATH", "a-rather-long-id  exited with…  /srv/agent_…"]


def test_where_not_even_that_fits_lines_are_longer_than_the_terminal_and_still_lines() -> None:
    assert printed(10) == ["ID                REA…  PATH", "a-rather-long-id  exi…  /sr…"]


@given(COLUMNS, st.integers(0, 400))
def test_columns_fit_whenever_they_can(columns: list[tuple[int, bool]], room: int) -> None:
    natural, whole = [width for width, _ in columns], [is_whole for _, is_whole in columns]
    widths = fitted(natural, whole, room)
    least = [width if is_whole else min(width, LEAST_WIDTH) for width, is_whole in columns]
    assert all(low <= got <= high for low, got, high in zip(least, widths, natural, strict=True))
    assert sum(widths) == min(sum(natural), max(room, sum(least)))


@pytest.mark.parametrize(
    ("natural", "room", "expected"), [([10, 30, 20], 50, [10, 20, 20]), ([10, 30, 20], 39, [10, 15, 14])]
)
def test_wide_columns_become_alike_before_narrow_ones_shrink(
    natural: list[int], room: int, expected: list[int]
) -> None:
    assert sorted(fitted(natural, [False] * 3, room)) == sorted(expected)
