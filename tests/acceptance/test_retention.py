"""A node keeps its database small, and its stream of events whole."""

from __future__ import annotations

from pathlib import Path

from agent_manager.adapters.sql.opening import store_at
from agent_manager.ports.store import Transaction
from tests.contract.store_values import exit_
from tests.harness.event_observer import stored_events
from tests.harness.node import Node, as_manager
from tests.harness.postgres import ON_BOTH_DATABASES
from tests.harness.waiting import eventually

SETTINGS = """
service: {cleanup_interval: 1s}
retention: {events_max_count: 1}
"""


@ON_BOTH_DATABASES
async def test_records_beyond_the_limits_go_while_the_node_runs(shipped_node: Node, tmp_path: Path) -> None:
    node, file = shipped_node, tmp_path / "agent_manager.yaml"
    file.write_text(SETTINGS)
    await node.up("--config", str(file))
    await node.until("echo", "running")
    await node.until("clock", "running")
    await record_old_exits(node)

    async def is_small() -> bool:
        return await node.query("SELECT count(*) FROM events") == [1] and await node.query(
            "SELECT count(*) FROM exits"
        ) == [0]

    await eventually(is_small, 60.0)
    (last,) = await node.query("SELECT number FROM events")
    async with as_manager(node) as client:
        assert [event.sequence for event in await stored_events(client)] == list(range(1, last + 1))

    def told() -> bool:
        removed = [line for line in node.log("manager") if line["event"] == "records_removed"]
        return (sum(line["events"] for line in removed), sum(line["exits"] for line in removed)) == (last - 1, 3)

    await eventually(told)


async def record_old_exits(node: Node) -> None:
    """Three, of the year 1970."""
    store = store_at(node.database_url or f"sqlite:///{node.data_dir / 'agent-manager.db'}")

    def work(t: Transaction) -> None:
        for number in range(3):
            t.record_exit("gone", 0, "another-node", exit_(f"launch-{number}", at=float(number)))

    await store.open()
    try:
        await store.write(work)
    finally:
        await store.close()
