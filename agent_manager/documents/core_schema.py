"""Scalars by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), as far as JSON can carry them.

Only `true` and `false` are truth values (`yes`, `no`, `on`, `off` are strings), dates and `12:30` are strings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TAG = "tag:yaml.org,2002:"
"""What the tags of YAML itself begin with."""

STRING, MAPPING, SEQUENCE = f"{TAG}str", f"{TAG}map", f"{TAG}seq"

KEEPABLE = "text without NUL and without half characters"
"""What a string must be to pass through JSON, database and environment."""

_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
_INTEGERS = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class PlainScalar:
    """How a value without quotes is told from a string: `pattern` is tried where it begins with one of `first`."""

    pattern: re.Pattern[str]
    first: str


PLAIN_SCALARS: Mapping[str, PlainScalar] = {
    f"{TAG}bool": PlainScalar(re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    f"{TAG}int": PlainScalar(re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), "-+0123456789"),
    f"{TAG}float": PlainScalar(
        re.compile(r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"),
        "-+.0123456789",
    ),
    f"{TAG}null": PlainScalar(re.compile(r"(~|null|Null|NULL)\Z"), "~nN"),
}
"""By tag, in the order in which they are tried. What has no text at all is null too."""


def is_keepable(text: str) -> bool:
    """Whether the text is `KEEPABLE`."""
    return _UNKEEPABLE.search(text) is None


def _string(text: str) -> str:
    if not is_keepable(text):
        raise ValueError(KEEPABLE)
    return text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def _integer(text: str) -> int:
    try:
        number = int(text, 0 if text[:2] in ("0o", "0x") else 10)
    except ValueError as error:
        raise ValueError("a whole number of at most 64 bits") from error
    if number not in _INTEGERS:
        raise ValueError("a number of at most 64 bits (or a string, in quotes)")
    return number


def _float(text: str) -> float:
    try:
        number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise ValueError("a number") from error
    if not math.isfinite(number):
        raise ValueError("a finite number")
    return number


CONSTRUCTORS: Mapping[str, Callable[[str], Any]] = {
    STRING: _string,
    f"{TAG}null": lambda _text: None,
    f"{TAG}bool": _truth,
    f"{TAG}int": _integer,
    f"{TAG}float": _float,
}
"""By tag: the value of a scalar's text. Each raises ValueError with what was expected, as a noun phrase."""
