"""How far a reader of an agent's output has come, as one short text: the id of a server-sent event.

`0:120:7,1:0:44` is byte 120 of standard output and byte 7 of standard error of instance 0, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_POSITIONS = re.compile(r"\d{1,6}:\d{1,18}:\d{1,18}(,\d{1,6}:\d{1,18}:\d{1,18})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """The numbers of the bytes to go on with."""

    out: int
    err: int


def written(positions: Mapping[int, Position]) -> str:
    """The text of the positions of instances, which are known by their ordinals."""
    return ",".join(f"{ordinal}:{position.out}:{position.err}" for ordinal, position in sorted(positions.items()))


def parse(text: str) -> dict[int, Position] | None:
    """The positions in a text of `written`; None for any other."""
    if not _POSITIONS.fullmatch(text):
        return None
    numbers = [[int(number) for number in instance.split(":")] for instance in text.split(",")]
    return {ordinal: Position(out, err) for ordinal, out, err in numbers}
