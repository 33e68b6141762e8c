"""What was acknowledged is there, whatever happens to the process."""

from __future__ import annotations

import asyncio

from agent_manager.adapters.sql.sqlite import SqliteStore
from tests.integration.sql.programs import running


async def test_what_a_killed_process_had_acknowledged_is_there(url: str) -> None:
    acknowledged: list[int] = []
    for _ in range(3):
        async with running("appender", url, "8") as process:
            assert process.stdout is not None
            for _ in range(300):
                acknowledged.append(int(await process.stdout.readline()))
            process.kill()
            rest, _ = await process.communicate()
            # The last line may be cut short; what was not printed in full counts as not acknowledged.
            acknowledged.extend(int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n"))
    async with SqliteStore(url) as store:
        kept = {event.sequence for event in await store.read(lambda t: t.events(0, 1_000_000))}
    assert len(acknowledged) >= 900
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= kept


async def test_two_processes_write_to_one_file(url: str) -> None:
    async with running("appender", url, "4", "50") as one, running("appender", url, "4", "50") as other:
        outputs = await asyncio.gather(one.communicate(), other.communicate())
    assert (one.returncode, other.returncode) == (0, 0)
    acknowledged = [int(line) for output, _ in outputs for line in output.splitlines()]
    assert sorted(acknowledged) == list(range(1, 401))
    async with SqliteStore(url) as store:
        assert [event.sequence for event in await store.read(lambda t: t.events(0, 1000))] == list(range(1, 401))
