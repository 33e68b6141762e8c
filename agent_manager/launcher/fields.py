"""Strict reading of JSON objects: values are checked where they enter, errors name key, value and what is expected."""

import math
import os
import reprlib
import signal
from collections.abc import Callable
from typing import Any, TypeVar

_PATH_MAX = 4096

T = TypeVar("T")


class FieldError(Exception):
    """A value is missing or not what it has to be; the message says which, where and what is expected."""


class Expected(Exception):  # noqa: N818 - reads as what it is where it is raised
    """A parser refuses a value; the text says what it wants instead."""


class Fields:
    """The fields of one JSON object. `where` is put before the keys in error messages."""

    def __init__(self, value: object, where: str = "") -> None:
        """Raises FieldError if the value is not an object."""
        if not isinstance(value, dict):
            raise FieldError(f"{where or 'value'}: {_shown(value)}: expected an object")
        self._fields: dict[str, Any] = value
        self._where = f"{where}." if where else ""

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def get(self, key: str, parse: Callable[[object], T]) -> T:
        """The parsed value. Raises FieldError."""
        if key not in self._fields:
            raise FieldError(f"{self._where}{key}: missing")
        value = self._fields[key]
        try:
            return parse(value)
        except Expected as expected:
            raise FieldError(f"{self._where}{key}: {_shown(value)}: expected {expected}") from None

    def optional(self, key: str, parse: Callable[[object], T]) -> T | None:
        """The parsed value, or `None` if there is none. Raises FieldError."""
        return self.get(key, parse) if self.has(key) else None

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self._fields.get(key) is not None

    def object(self, key: str) -> "Fields":
        """A nested object. Raises FieldError."""
        return Fields(self.get(key, lambda value: value), f"{self._where}{key}")

    def objects(self, key: str) -> "list[Fields]":
        """A list of nested objects. Raises FieldError."""
        values = self.get(key, _array)
        return [Fields(value, f"{self._where}{key}[{index}]") for index, value in enumerate(values)]

    def only(self, *keys: str) -> None:
        """Raises FieldError if there are other fields than these."""
        unknown = sorted(self._fields.keys() - set(keys))
        if unknown:
            raise FieldError(f"{self._where}{unknown[0]}: unknown; known are {', '.join(keys)}")


def text(value: object) -> str:
    """A string that the operating system takes as an argument, a name or a path."""
    if isinstance(value, str) and "\0" not in value:
        try:
            os.fsencode(value)
        except UnicodeEncodeError:
            pass
        else:
            return value
    raise Expected("a string without NUL, encodable in the file system's encoding")


def name(value: object) -> str:
    """A string that is not empty."""
    if result := text(value):
        return result
    raise Expected("a string that is not empty")


def absolute_path(value: object) -> str:
    """A path that does not depend on a working directory."""
    if os.path.isabs(result := text(value)) and len(os.fsencode(result)) < _PATH_MAX:
        return result
    raise Expected(f"an absolute path of less than {_PATH_MAX} bytes")


def number(value: object) -> float:
    """A finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise Expected("a number")


def positive(value: object) -> float:
    """A number above zero."""
    if (result := number(value)) > 0:
        return result
    raise Expected("a number above 0")


def whole(value: object) -> int:
    """A whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Expected("a whole number")


def natural(value: object) -> int:
    """A whole number that is not negative."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Expected("a whole number from 0")


def naturals(value: object) -> tuple[int, ...]:
    """A list of such numbers."""
    return tuple(natural(item) for item in _array(value))


def count(value: object) -> int:
    """A whole number above zero."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise Expected("a whole number above 0")


def truth(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise Expected("true or false")


def texts(value: object) -> tuple[str, ...]:
    """A list of strings."""
    return tuple(text(item) for item in _array(value))


def argv(value: object) -> tuple[str, ...]:
    """A program and its arguments."""
    if result := texts(value):
        name(result[0])
        return result
    raise Expected("a list of strings that is not empty")


def lines_by_stream(value: object) -> dict[str, list[str]]:
    """The last lines of an exit: whatever a program has written."""
    if isinstance(value, dict) and all(isinstance(lines, list) for lines in value.values()):
        return {text(stream): [str(line) for line in lines] for stream, lines in value.items()}
    raise Expected("an object of lists of strings")


def environment(value: object) -> dict[str, str]:
    """A process environment."""
    if isinstance(value, dict) and all(key and "=" not in key for key in value):
        return {text(key): text(item) for key, item in value.items()}
    raise Expected("an object of strings whose keys are neither empty nor contain '='")


def signal_name(value: object) -> signal.Signals:
    """The name of a signal, such as `SIGTERM`."""
    try:
        return signal.Signals[name(value)]
    except KeyError:
        raise Expected("the name of a signal, such as SIGTERM") from None


def one_of(*choices: str) -> Callable[[object], str]:
    """One of these strings."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise Expected(" or ".join(map(repr, choices)))

    return parse


def _array(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    raise Expected("a list")


def _shown(value: object) -> str:
    """A value of any size and depth, in a few words."""
    return reprlib.repr(value)
