from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.services.bench import Bench
from tests.unit.services.bench import bench as made


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with made() as it:
        yield it
