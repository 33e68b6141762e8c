"""Whose credentials are renewed."""

from __future__ import annotations

import pytest

from agent_manager.services.renewal import Renewal
from tests.harness.waiting import eventually
from tests.unit.services.bench import Bench


async def test_launches_that_run_are_renewed_and_those_that_have_ended_are_not(bench: Bench) -> None:
    renewal = Renewal(bench.identities, bench.supervisor, lifetime_s=60)
    renewal.look()
    running = await bench.running()
    renewal.look()
    assert running.launch is not None
    bench.launcher.exit("echo_0")
    renewal.look()
    assert bench.identities.renewed == [set(), {running.launch.launch_id}, set()]


async def test_what_cannot_be_written_is_said_and_tried_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    renewal = Renewal(bench.identities, bench.supervisor, lifetime_s=1)
    bench.identities.failure = OSError("no room")
    running = bench.tasks.create_task(renewal.run())
    await eventually(lambda: [record for record in caplog.records if record.message == "credentials_not_renewed"])
    bench.identities.failure = None
    await eventually(lambda: bench.identities.renewed)
    running.cancel()
