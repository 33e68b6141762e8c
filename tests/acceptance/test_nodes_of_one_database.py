"""Nodes that use one database: each has the agents of its own folders, and can take the place of one that is gone."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness.agents import SLEEPS, plain_python
from tests.harness.external_nats import external_nats
from tests.harness.node import alive, kill, node_under_test
from tests.harness.postgres import PostgresDatabases
from tests.harness.waiting import eventually


async def test_a_node_leaves_the_agents_of_another_alone_until_it_takes_its_place(
    tmp_path: Path, postgres: PostgresDatabases
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        postgres.database() as url,
        node_under_test(tmp_path / "one", database_url=url) as one,
        node_under_test(tmp_path / "two", database_url=url) as two,
    ):
        plain_python(one.packages, "plain", SLEEPS)
        plain_python(two.packages, "plain", SLEEPS)
        plain_python(two.packages, "other", SLEEPS)
        await one.up()
        first = await one.until("plain", "running")
        await two.up()
        await two.until("other", "running")

        (fault,) = next(p for p in (await two.get("/packages"))["items"] if p["status"] == "invalid")["faults"]
        lost = (await one.get("/nodes"))["items"][0]["id"]
        assert f"belongs to the node {lost}" in fault["message"]
        assert not two.processes("plain/agent.py")
        assert (await one.until("plain", "running"))["pid"] == first["pid"]
        assert (await two.instance("plain"))["node"] == lost

        # The host of the first node is gone for good.
        kill(one.pid("launcher"))
        await eventually(lambda: not one.processes())
        assert not alive(first["pid"])
        assert await two.stop() == 0
        identity = json.loads((two.data_dir / "node.json").read_text(encoding="utf-8"))
        (two.data_dir / "node.json").write_text(json.dumps({**identity, "node_id": lost}), encoding="utf-8")
        await two.up()
        taken_over = await two.until("plain", "running")
        assert alive(taken_over["pid"])
        assert two.processes("plain/agent.py")


async def test_whichever_manager_takes_a_command_the_agents_own_node_carries_it_out(
    tmp_path: Path, postgres: PostgresDatabases
) -> None:
    jetstream = {"jetstream": {"store_dir": str(tmp_path / "jetstream")}, "max_payload": 8 * 1024 * 1024}
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        postgres.database() as url,
        external_nats(tmp_path, jetstream) as server,
        node_under_test(tmp_path / "one", database_url=url) as one,
        node_under_test(tmp_path / "two", database_url=url) as two,
    ):
        for node, agent_id in ((one, "first"), (two, "second")):
            node.environment = {
                "AGENT_MANAGER_NATS_URL": server.url,
                "AGENT_MANAGER_SERVICE_MONITORING_INTERVAL": "1s",
            }
            plain_python(node.packages, agent_id, SLEEPS)
            await node.up()
        for agent_id in ("first", "second"):
            await one.until(agent_id, "running")
            # Several times: the queue group gives each request to one of the managers.
            for _ in range(4):
                for command, status in (("stop", "stopped"), ("start", "running")):
                    assert (await one.post(f"/agents/{agent_id}/{command}")).status_code == 202
                    await one.until(agent_id, status)
                    await two.until(agent_id, status)
        assert two.processes("second/agent.py")
        assert not two.processes("first/agent.py")
