"""Keys as a terminal sends them."""

from __future__ import annotations

import re
from enum import StrEnum


class Key(StrEnum):
    """What is no letter."""

    UP = "up"
    DOWN = "down"
    PAGE_UP = "page-up"
    PAGE_DOWN = "page-down"
    QUIT = "quit"
    RESIZED = "resized"
    """Not pressed, but told in the same way."""


_SEQUENCES = {
    "\x1b[A": Key.UP,
    "\x1bOA": Key.UP,
    "\x1b[B": Key.DOWN,
    "\x1bOB": Key.DOWN,
    "\x1b[5~": Key.PAGE_UP,
    "\x1b[6~": Key.PAGE_DOWN,
    "q": Key.QUIT,
    "\x04": Key.QUIT,
}
SCROLLS = frozenset({Key.UP, Key.DOWN, Key.PAGE_UP, Key.PAGE_DOWN})
_KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])?|.", re.DOTALL)


def keys_in(typed: str) -> list[str]:
    """What was pressed: a Key, or the letter itself. Sequences nobody knows are left out."""
    keys = [_SEQUENCES.get(sequence, sequence) for sequence in _KEY.findall(typed)]
    return [key for key in keys if not key.startswith("\x1b")]
