"""What came of a unit of work, carried from its thread to whoever awaits it.

Handed over as a value, also when it is an exception: a future refuses StopIteration, and who awaits it waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
ReturnedT = TypeVar("ReturnedT", covariant=True)


@dataclass(frozen=True, slots=True)
class Returned(Generic[ReturnedT]):
    """It came to its end."""

    value: ReturnedT

    def get(self) -> ReturnedT:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Raised:
    """It raised."""

    error: BaseException

    def get(self) -> NoReturn:
        """Raise it."""
        raise self.error


def outcome_of(run: Callable[[], T]) -> Returned[T] | Raised:
    """Run it; never raises."""
    try:
        return Returned(run())
    except BaseException as error:
        return Raised(error)
