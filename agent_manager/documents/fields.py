"""Kinds of manifest values, each with the words that say what it must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from pydantic import BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

EXPECTATION = "expectation"
"""Error type of the kinds below; its context holds `expected`, a noun phrase for "… must be"."""


def unmet(expected: str, **context: Any) -> PydanticCustomError:
    """The error of a value that is not what is `expected`.

    `field` in the context names the key below the failed section that has to change, `value` what it is now.
    """
    return PydanticCustomError(EXPECTATION, "must be {expected}", {"expected": expected, **context})


def within(low: float, high: float, what: str) -> WrapValidator:
    """A number from `low` to `high`, both included."""
    return _expecting(f"{what} from {low} to {high}", lambda value: low <= value <= high)


def matching(pattern: str, what: str) -> WrapValidator:
    """A string that matches the whole of `pattern`."""
    compiled = re.compile(pattern)
    return _expecting(what, lambda value: compiled.fullmatch(value) is not None)


def simple(what: str) -> WrapValidator:
    """Any value of the annotated type."""
    return _expecting(what, lambda _value: True)


def one_of(allowed: Collection[str], convert: Callable[[str], Any] = str) -> BeforeValidator:
    """One of the `allowed` words, turned into the annotated type by `convert`."""
    expected = f"one of {', '.join(allowed)}"

    def choose(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise unmet(expected)
        return convert(value)

    return BeforeValidator(choose)


def listing(what: str) -> BeforeValidator:
    """A list, kept as a tuple; its items are checked on their own."""

    def frozen(value: Any) -> Any:
        if not isinstance(value, list):
            raise unmet(what)
        return tuple(value)

    return BeforeValidator(frozen)


def _expecting(expected: str, holds: Callable[[Any], bool]) -> WrapValidator:
    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            result = handler(value)
        except ValidationError as error:
            raise unmet(expected) from error
        if not holds(result):
            raise unmet(expected)
        return result

    return WrapValidator(validate)
