"""What a launcher hands over to the program that takes its place: same process, same children, other code.

A JSON file without a name, whose descriptor the new program is given, as are those of which it tells. A format that is
not known is refused before the old one has given up anything. Within a format, fields are only ever added, and what an
older launcher has not written has a default.
"""

import json
import os
from collections.abc import Iterable
from typing import Any

from agent_manager.launcher.fields import Expected, FieldError, Fields

FORMAT = 1

State = dict[str, Any]


class HandoverError(Exception):
    """What was handed over cannot be taken; the message says why."""


def write(state: State) -> int:
    """A descriptor of the state, inheritable. Raises OSError."""
    descriptor = os.memfd_create("handover", 0)
    with open(descriptor, "w", encoding="ascii", closefd=False) as file:
        json.dump({"format": FORMAT, **state}, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def read(descriptor: int) -> Fields:
    """The state. Raises HandoverError."""
    try:
        with open(descriptor, encoding="ascii") as file:
            state = Fields(json.load(file), "handover")
        state.get("format", _known)
    except (OSError, ValueError, FieldError) as error:
        raise HandoverError(str(error)) from error
    return state


def let_through(descriptors: Iterable[int]) -> None:
    """Keep these open over the exec. Raises OSError."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)


def keep_back(descriptors: Iterable[int]) -> None:
    """Close them at an exec again. Raises OSError."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)


def _known(value: object) -> None:
    if value != FORMAT:
        raise Expected(f"{FORMAT}, the format that this launcher knows")
