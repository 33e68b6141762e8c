"""A node on a NATS server that somebody else runs."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import psutil
from nats.aio.client import Client

from agent_manager.protocol import subjects
from tests.harness.agents import QUICK_HEARTBEAT, sdk_agent
from tests.harness.event_observer import Stored, stored_events
from tests.harness.external_nats import ExternalNats, external_nats, nats_cluster
from tests.harness.nats_server import running_nats
from tests.harness.node import Node, kill, write_package
from tests.harness.waiting import eventually

SPEAKS_WITHOUT_SDK = """
import asyncio, json, os
from datetime import UTC, datetime
import nats

async def main():
    bus = await nats.connect(os.environ["NATS_URL"], user=os.environ["NATS_USER"], password=os.environ["NATS_PASSWORD"])
    who = {"instance_id": os.environ["AGENT_INSTANCE_ID"], "launch_id": os.environ["AGENT_LAUNCH_ID"]}
    for number in range(1, 1_000_000):
        now = datetime.now(UTC).isoformat()
        await bus.publish("agent.status", json.dumps({**who, "number": number, "timestamp": now}).encode())
        counters = {"counters": {"beats": number}}
        await bus.publish("agent.metrics", json.dumps({**who, **counters, "timestamp": now}).encode())
        await asyncio.sleep(0.2)

asyncio.run(main())
"""


def jetstream(folder: Path) -> dict[str, Any]:
    return {"jetstream": {"store_dir": str(folder / "jetstream")}}


def user_and_password(folder: Path) -> dict[str, Any]:
    return {**jetstream(folder), "max_payload": 8 * 1024 * 1024, "authorization": {"user": "manager", "password": "pw"}}


def points_to(node: Node, *servers: ExternalNats) -> None:
    node.environment = {
        "AGENT_MANAGER_NATS_URL": ",".join(server.url for server in servers),
        "AGENT_MANAGER_NATS_USER": "manager",
        "AGENT_MANAGER_NATS_PASSWORD": "pw",
    }


async def test_agents_run_on_an_external_server_with_the_managers_credentials_which_is_said_loudly(
    node: Node, tmp_path: Path
) -> None:
    async with external_nats(tmp_path, user_and_password(tmp_path)) as server:
        points_to(node, server)
        sdk_agent(node.packages, "steady", extra=QUICK_HEARTBEAT)
        write_package(
            node.packages, "plain", f"version: 1.0.0\nentrypoint: agent.py\n{QUICK_HEARTBEAT}", SPEAKS_WITHOUT_SDK
        )
        await node.up()
        await node.until("steady", "running")
        # Heard on agent.status alone: without its heartbeats it would never be ready.
        await node.until("plain", "running")
        assert node.state["nats_url"] == server.url
        assert "nats" not in node.state["pids"]
        events = {line["event"] for line in node.log("manager")}
        assert {"agents_share_credentials", "bus_durability_unknown", "bus_connected"} <= events
        assert not {event for event in events if event in ("bus_permissions_missing", "bus_payload_small")}
        client = await nats.connect(server.url, user="manager", password="pw")
        answer = await node.command(client, "restart", "steady", wait_s=30)
        assert answer["status"] == "success"
        await client.close()


async def test_with_a_signing_key_every_launch_has_its_own_user_and_payloads_are_not_believed(
    node: Node, tmp_path: Path
) -> None:
    async with running_nats(tmp_path / "other") as server:
        files, keys = server.files, server.prepared.keyring
        node.environment = {
            "AGENT_MANAGER_NATS_URL": server.url,
            "AGENT_MANAGER_NATS_CREDS": str(files.manager_credentials),
            "AGENT_MANAGER_NATS_SIGNING_KEY": str(files.keys / "account-signing.nk"),
            "AGENT_MANAGER_NATS_ACCOUNT": keys.account.public,
            "MANAGEMENT_API_NATS_URL": server.url,
            "MANAGEMENT_API_NATS_CREDS": str(files.api_credentials),
        }
        sdk_agent(node.packages, "steady", extra=QUICK_HEARTBEAT)
        await node.up()
        running = await node.until("steady", "running")
        environment = psutil.Process(running["pid"]).environ()
        assert environment["NATS_CREDS"].startswith(str(node.data_dir / "run" / "creds"))
        assert "agents_share_credentials" not in {line["event"] for line in node.log("manager")}

        forged = {"instance_id": "steady_0", "launch_id": environment["AGENT_LAUNCH_ID"], "number": 10**9}
        said = json.dumps({**forged, "status": "draining", "timestamp": datetime.now(UTC).isoformat()}).encode()
        manager = await server.connect_as_manager()
        heard = await manager.subscribe("agent.status.*.steady_0.*")
        await manager.flush()
        await manager.publish("agent.status", said)
        await heard.next_msg(timeout=20)
        await heard.next_msg(timeout=20)
        assert (await node.instance("steady"))["status"] == "running"
        assert (await node.agent("steady"))["availability"] == "active"


async def test_clients_move_on_when_a_server_of_the_cluster_is_killed(node: Node, tmp_path: Path) -> None:
    configuration = {"authorization": {"user": "manager", "password": "pw"}}
    async with nats_cluster(tmp_path, 3, configuration) as servers:
        points_to(node, *servers)
        for number in range(3):
            sdk_agent(node.packages, f"steady-{number}", extra=QUICK_HEARTBEAT)
        await node.up()
        before = [(await node.until(f"steady-{number}", "running"))["pid"] for number in range(3)]
        for server in servers[:2]:
            await server.kill()
            killed_at = time.time()

            async def heard_since(moment: float = killed_at) -> bool:
                found = [await node.instance(f"steady-{number}") for number in range(3)]
                return all(
                    each.get("status") == "running"
                    and datetime.fromisoformat(each["last_heartbeat"]).timestamp() > moment + 1
                    for each in found
                )

            await eventually(heard_since, 60.0)
            await server.start()
        assert [(await node.instance(f"steady-{number}"))["pid"] for number in range(3)] == before


async def test_events_in_three_copies_outlive_each_of_their_servers(node: Node, tmp_path: Path) -> None:
    async with nats_cluster(tmp_path, 3, user_and_password(tmp_path)) as servers:
        points_to(node, *servers)
        node.environment["AGENT_MANAGER_NATS_REPLICAS"] = "3"
        sdk_agent(node.packages, "steady", extra=QUICK_HEARTBEAT)
        await node.up()
        await node.until("steady", "running")
        for server in servers:
            await server.kill()
            # By then API and manager, which may have had this one, are connected to another.
            await eventually(lambda: node.instance("steady"), 60.0)
            answer = await node.post("/agents/steady/restart", wait=60)
            assert (answer.status_code, answer.json()["done"]) == (200, True)
            await server.start()
            # Two of three are enough; one that is behind does not count.
            await eventually(lambda: three_copies(servers), 60.0)

        async def events_until_running() -> list[Stored]:
            async with any_of(servers) as client:
                # Whichever server answers may not have the latest ones yet.
                with contextlib.suppress(nats.errors.Error):
                    told = await stored_events(client)
                    return told if told and told[-1].body["type"] == "running" and restarts(told) == 3 else []
            return []

        told: list[Stored] = await eventually(events_until_running, 60.0)
        assert [event.body["sequence"] for event in told] == list(range(1, len(told) + 1))


def restarts(events: list[Stored]) -> int:
    return [event.body["type"] for event in events].count("restart_requested")


async def three_copies(servers: list[ExternalNats]) -> bool:
    """Whether each server has all that the stream of events holds."""
    async with any_of(servers) as client:
        with contextlib.suppress(nats.errors.Error):
            cluster = (await client.jetstream().stream_info(subjects.EVENT_STREAM)).cluster
            others = [] if cluster is None else cluster.replicas or []
            return len(others) == 2 and all(other.current for other in others)
    return False


@asynccontextmanager
async def any_of(servers: list[ExternalNats]) -> AsyncIterator[Client]:
    client = await nats.connect([server.url for server in servers], user="manager", password="pw")
    try:
        yield client
    finally:
        await client.close()


async def test_supervision_goes_on_while_an_external_server_is_away(node: Node, tmp_path: Path) -> None:
    async with external_nats(tmp_path, user_and_password(tmp_path)) as server:
        points_to(node, server)
        sdk_agent(node.packages, "steady", extra=QUICK_HEARTBEAT)
        await node.up()
        first = await node.until("steady", "running")
        await server.kill()
        await eventually(lambda: "NATS               away" in node.console(), 30.0)
        manager = node.pid("manager")
        kill(manager)
        await node.replaced("manager", manager)
        kill(first["pid"])
        # Restarted with nobody on the bus; seen there when it is back.
        await eventually(lambda: any(process.pid != first["pid"] for process in node.processes("steady")), 30.0)
        await server.start()
        again = await node.until("steady", "running", not_pid=first["pid"])
        assert again["restarts"] == 1
        await eventually(lambda: "NATS               connected" in node.console(), 30.0)


async def test_a_server_that_is_not_there_is_told_in_the_terminal(node: Node, tmp_path: Path) -> None:
    async with external_nats(tmp_path, user_and_password(tmp_path)) as server:
        points_to(node, server)
        node.environment["AGENT_MANAGER_NATS_PASSWORD"] = "wrong"
        await node.up()
        await eventually(lambda: "NATS               away" in node.console(), 30.0)
        assert "refuses" in node.console()


async def test_nobody_loses_the_bus_though_credentials_live_for_seconds(node: Node) -> None:
    # A machine that has much to do needs half of it to see the new ones in time.
    lifetime_s = 16.0
    node.environment = {"AGENT_MANAGER_NATS_CREDENTIALS_LIFETIME": str(lifetime_s)}
    sdk_agent(node.packages, "steady", extra=QUICK_HEARTBEAT)
    await node.up()
    first = await node.until("steady", "running")
    output = node.data_dir / "logs/agents/steady_0.err.log"

    async def replaced(times: int) -> bool:
        await node.agent("steady")
        return output.read_text().count("the connection to NATS was replaced") >= times

    await eventually(lambda: replaced(1), 60.0)
    kill(node.pid("manager"))
    # Beyond the expiry of what the node began with, and of what the killed manager had renewed.
    await eventually(lambda: replaced(3), 60.0)
    assert (await node.until("steady", "running"))["pid"] == first["pid"]
    manager = [line["event"] for line in node.log("manager")]
    assert "bus_replaced" in manager
    assert not {"bus_disconnected", "bus_credentials_expired", "bus_credentials_not_renewed"} & set(manager)
    assert "is gone" not in output.read_text()
