"""What JetStream has acknowledged is there again after the server was killed."""

from __future__ import annotations

import json
import time

from nats.aio.client import RawCredentials

from agent_manager.adapters.nats.credentials import issue_user
from agent_manager.adapters.nats.keyring import Issuer
from agent_manager.protocol.permissions import OF_MANAGER
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually

RESULTS = 200


async def test_acknowledged_results_outlive_a_killed_server(nats: NatsHarness) -> None:
    manager = await nats.connect_as_manager()
    await manager.jetstream().add_stream(name="TASK_RESULTS", subjects=["task.result.>"])
    agent = await nats.connect_as_launch("echo", "echo_0", "launch1")
    for number in range(RESULTS):
        await agent.jetstream().publish(f"task.result.echo_0.launch1.t{number}", b"result", timeout=20)

    await nats.kill()
    await eventually(lambda: not manager.is_connected)
    await nats.restart()

    await eventually(lambda: manager.is_connected)
    assert (await manager.jetstream().stream_info("TASK_RESULTS")).state.messages == RESULTS


async def test_the_server_writes_to_disk_before_it_acknowledges(nats: NatsHarness) -> None:
    """Asked of the server, since no test takes its power away."""
    system_account = nats.prepared.keyring.system_account
    system = Issuer(system_account.public, system_account)
    user = issue_user(system, name="probe", permissions=OF_MANAGER, issued_at=time.time(), lifetime_s=None)
    connection = await nats.connect(RawCredentials(user), "_INBOX")

    answer = await connection.request("$SYS.REQ.SERVER.PING.JSZ", b"{}", timeout=20)

    assert json.loads(answer.data)["data"]["config"]["sync_always"] is True
