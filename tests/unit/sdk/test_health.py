"""Health checks that hang."""

from __future__ import annotations

import asyncio

import pytest

from agent_manager.sdk import health
from agent_manager.sdk.health import HealthCheck


async def test_a_check_that_hangs_is_unhealthy_and_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.01)
    release, calls = asyncio.Event(), []

    async def hook() -> None:
        calls.append("called")
        await release.wait()

    async with asyncio.TaskGroup() as tasks:
        check = HealthCheck(hook, tasks)
        for _ in range(3):
            answer = await check.command({})
            assert answer["healthy"] is False
            assert "did not end" in answer["error"]
        assert calls == ["called"]
        release.set()


async def test_an_agent_without_a_check_is_healthy() -> None:
    async with asyncio.TaskGroup() as tasks:
        assert await HealthCheck(None, tasks).command({}) == {"healthy": True}
