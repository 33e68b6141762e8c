"""Kinds of manifest values, each with the words that say what it must be."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection
from typing import Any

from pydantic import BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

EXPECTATION = "expectation"
"""Error type of the kinds below; its context holds `expected`, a noun phrase for "… must be"."""


@dataclasses.dataclass(frozen=True, slots=True)
class Checked(WrapValidator):
    """A check after the annotated type's own; `expected` says what passes."""

    expected: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Converted(BeforeValidator):
    """A conversion before the annotated type's own check; `expected` says what passes."""

    expected: str = ""


def unmet(expected: str, **context: Any) -> PydanticCustomError:
    """The error of a value that is not what is `expected`.

    `field` in the context names the key below the failed section that has to change, `value` what it is now, `because`
    the key beside it that makes it wrong.
    """
    return PydanticCustomError(EXPECTATION, "must be {expected}", {"expected": expected, **context})


def within(low: float, high: float, what: str) -> Checked:
    """A number from `low` to `high`, both included."""
    return _expecting(f"{what} from {low} to {high}", lambda value: low <= value <= high)


def matching(pattern: str, what: str) -> Checked:
    """A string that matches the whole of `pattern`."""
    compiled = re.compile(pattern)
    return _expecting(what, lambda value: compiled.fullmatch(value) is not None)


def simple(what: str) -> Checked:
    """Any value of the annotated type."""
    return _expecting(what, lambda _value: True)


def accepted(what: str, accepts: Callable[[Any], object]) -> Checked:
    """A value for which `accepts` does not raise ValueError."""

    def holds(value: Any) -> bool:
        try:
            accepts(value)
        except ValueError:
            return False
        return True

    return _expecting(what, holds)


def one_of(allowed: Collection[str], convert: Callable[[str], Any] = str) -> Converted:
    """One of the `allowed` words, turned into the annotated type by `convert`."""
    expected = f"one of {', '.join(allowed)}"

    def choose(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise unmet(expected)
        return convert(value)

    return Converted(choose, expected=expected)


def listing(what: str) -> Converted:
    """A list, kept as a tuple; its items are checked on their own."""

    def frozen(value: Any) -> Any:
        if not isinstance(value, list):
            raise unmet(what)
        return tuple(value)

    return Converted(frozen, expected=what)


def _expecting(expected: str, holds: Callable[[Any], bool]) -> Checked:
    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            result = handler(value)
        except ValidationError as error:
            raise unmet(expected) from error
        if not holds(result):
            raise unmet(expected)
        return result

    return Checked(validate, expected=expected)
