"""Chaos has a seed, which a failure shows, and a measure: a tenth of it in the project's own check, all of it with
`make chaos`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

FULL = os.environ.get("CHAOS") == "full"
LEAST = 3


def rounds(full: int) -> int:
    """How often to do what is done so often in full measure."""
    return full if FULL else max(LEAST, full // 10)


@pytest.fixture
def chance(record_property: Callable[[str, object], None]) -> Iterator[random.Random]:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
    record_property("seed", seed)
    try:
        yield random.Random(seed)
    finally:
        print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown with a failure
