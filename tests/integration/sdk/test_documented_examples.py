"""The examples of docs/sdk.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually
from tests.integration.sdk.running_agent import REPOSITORY, running_agent

SMALLEST, COMMANDS, HOOKS = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/sdk.md").read_text(), re.DOTALL)


async def test_the_smallest_agent_answers(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, SMALLEST) as agent:
        assert (await agent.ask("echo", {"a": 1})).result == {"a": 1}


async def test_the_commands_answer_and_refuse(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, COMMANDS) as agent:
        assert (await agent.ask("read", {"id": "a"})).result == {"text": "Alpha"}
        assert (await agent.ask("index")).result == ["a"]
        refusal = await agent.ask("read", {"id": "b"})
        assert refusal.error is not None
        assert (refusal.error.code, refusal.error.message) == ("not_found", "no document 'b'")


async def test_the_hooks_work_together(nats: NatsHarness, folder: Path) -> None:
    async with running_agent(nats, folder, HOOKS.replace("metrics_interval_s=5.0", "metrics_interval_s=0.1")) as agent:
        await agent.ask("put", {"item": 1})
        await eventually(lambda: agent.metrics and agent.metrics[-1].counters == {"items": 2, "queue.length": 0})
        assert (await agent.ask("health")).result == {"healthy": True, "detail": {"queue": 0}}
        refused = await agent.ask("config", {"config": {}})
        assert refused.error is not None
        agent.terminate()
        assert await agent.ends() == 0
