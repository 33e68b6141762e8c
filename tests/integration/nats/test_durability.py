"""What JetStream has acknowledged is there again after the server was killed."""

from __future__ import annotations

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
