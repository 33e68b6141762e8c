"""Kinds of settings' values, each with the words that say what it must be.

Values come from YAML as numbers and lists, and from variables and flags as text: both are understood.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from agent_manager.documents.fields import unmet

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
PLAIN_TEXT = re.compile(r"[^\x00\n]+")
_TEXT = "a string (put numbers, true and false in quotes)"
_SECRET = re.compile(r"-----BEGIN|\bS[A-Z2-7]{57}\b")
"""What begins a PEM or credentials file, and an nkey seed."""
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def seconds(low: float, high: float) -> BeforeValidator:
    """A duration from `low` to `high` seconds: a number of seconds, or text such as 500ms, 30s, 5m, 1h30m."""
    expected = f"a duration from {_duration(low)} to {_duration(high)}, such as 30, 30s or 5m"

    def convert(value: Any) -> float:
        found = _seconds(value)
        if found is None or not low <= found <= high:
            raise unmet(expected)
        return found

    return BeforeValidator(convert)


def number(low: float, high: float) -> BeforeValidator:
    """A number from `low` to `high`."""
    return _between(low, high, float, "a number")


def whole(low: int, high: int) -> BeforeValidator:
    """A whole number from `low` to `high`."""
    return _between(low, high, int, "a whole number")


def truth() -> BeforeValidator:
    """True or false; from variables also yes, no, on, off, 1, 0."""

    def convert(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _TRUTHS:
            return _TRUTHS[value.lower()]
        raise unmet("true or false")

    return BeforeValidator(convert)


def word(allowed: Collection[str], *, convert: Callable[[str], str] = str) -> BeforeValidator:
    """One of the allowed words, after `convert`."""

    def choose(value: Any) -> str:
        if not isinstance(value, str) or convert(value) not in allowed:
            raise unmet(f"one of {', '.join(allowed)}")
        return convert(value)

    return BeforeValidator(choose)


def only_true() -> BeforeValidator:
    """Always true."""

    def check(value: Any) -> bool:
        if value is not True and value != "true":
            raise unmet("true, or left out")
        return True

    return BeforeValidator(check)


def text(what: str = _TEXT, pattern: str = PLAIN_TEXT.pattern) -> BeforeValidator:
    """Text that matches the whole of `pattern`."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            raise unmet(what)
        return value

    return BeforeValidator(check)


def listing() -> BeforeValidator:
    """A list of texts; in a variable separated by commas."""

    def split(value: Any) -> tuple[str, ...]:
        found = strings(value)
        if found is None:
            raise unmet("a list of strings (in a variable: separated by commas)")
        return found

    return BeforeValidator(split)


def strings(value: Any) -> tuple[str, ...] | None:
    """The texts of a list, or of a text with commas; None for anything else."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) and part.strip() for part in parts):
        return None
    return tuple(part.strip() for part in parts)


def path() -> BeforeValidator:
    """A path, made absolute: relative ones begin at the working directory, `~` is the user's home."""

    def absolute(value: Any) -> Path:
        if isinstance(value, Path):
            return value.absolute()
        if not isinstance(value, str) or not value or "\0" in value:
            raise unmet("a path")
        return Path(value).expanduser().absolute()

    return BeforeValidator(absolute)


def secret_file() -> BeforeValidator:
    """A path of a file with a secret; the secret itself, which is easily taken for what is asked for, is refused."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and _SECRET.search(value):
            raise unmet("the path of a file that holds it, not what it holds")
        return value

    return BeforeValidator(check)


Text = Annotated[str, text()]
FilePath = Annotated[Path, path()]
SecretFilePath = Annotated[FilePath, secret_file()]


def _between(low: float, high: float, convert: Callable[[Any], float], what: str) -> BeforeValidator:
    expected = f"{what} from {low:g} to {high:g}"

    def check(value: Any) -> float:
        try:
            # A truth value is no number, and int() would cut what is none.
            fits = not isinstance(value, bool) and (isinstance(value, str) or convert(value) == value)
            found = convert(value) if fits else math.nan
        except (TypeError, ValueError, OverflowError):
            raise unmet(expected) from None
        if not low <= found <= high:
            raise unmet(expected)
        return found

    return BeforeValidator(check)


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if not isinstance(value, str):
        return None
    written = value.strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", written):
        return float(written)
    parts = _PART.findall(written)
    if not parts or "".join(amount + unit for amount, unit in parts) != written:
        return None
    return sum(float(amount) * _UNITS_S[unit] for amount, unit in parts)


def _duration(value_s: float) -> str:
    for unit in ("d", "h", "m", "s"):
        if value_s >= _UNITS_S[unit] and (value_s / _UNITS_S[unit]).is_integer():
            return f"{value_s / _UNITS_S[unit]:g}{unit}"
    return f"{value_s * 1000:g}ms" if value_s else "0"
