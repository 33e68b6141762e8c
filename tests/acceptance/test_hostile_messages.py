"""A whole node under hostile messages, sent with rights that would allow anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import nats
import psutil
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.protocol import commands, subjects
from agent_manager.protocol.messages import Envelope, LogLines, Response
from tests.harness import hostile
from tests.harness.agents import QUICK_HEARTBEAT, sdk_agent
from tests.harness.hostile_requests import Cast, check_answer, messages_of
from tests.harness.memory_bus import Published
from tests.harness.node import Node, node_under_test, settle
from tests.harness.sse import reading
from tests.harness.waiting import eventually

PATIENCE_S = 30.0
MANAGER, API, OTHER = (
    f"{subjects.MANAGER_INBOX_PREFIX}.hostile",
    f"{subjects.API_INBOX_PREFIX}.hostile",
    "_INBOX.hostile",
)
# Commands that leave an agent as it was.
HARMLESS = st.sampled_from([commands.PING, commands.HEALTH, commands.CONFIG, "", "dance", "ping\0"])


class Attacker:
    """A connection with the manager's own credentials, and every answer it was given."""

    def __init__(self, node: Node, client: Client, cast: Cast) -> None:
        self.node = node
        self.client = client
        self.cast = cast
        self.heard: dict[str, Published] = {}
        self._numbers = count()
        self._news = asyncio.Event()

    async def listen(self) -> None:
        """Hear whatever is answered."""
        for inbox in (MANAGER, API, OTHER):
            await self.client.subscribe(f"{inbox}.*", cb=self._hear)
        await settle(self.client)

    async def send(self, subject: str, body: bytes, headers: dict[str, str] | None) -> None:
        """Say something; what is a request is answered, and so that everybody could read it."""
        inbox = API if subject.startswith("agent.manager.api.") else OTHER
        reply = f"{inbox}.{next(self._numbers)}"
        # The client refuses names that the server lets through; such headers are sent as they are.
        await self.client.publish(subject, body, reply=reply, headers=headers)
        if subject.startswith(("agent.manager.", "agent.steady_0.", "$SRV.")):
            answer = await self.answered(reply)
            if not subject.startswith("$SRV."):
                check_answer(answer)

    async def send_wire(self, wire: bytes) -> None:
        """Say something as no client does."""
        await self.client._send_command(wire)
        await self.client._flush_pending()
        await settle(self.client)

    async def answered(self, reply: str) -> Published:
        """The answer that came there."""
        async with asyncio.timeout(PATIENCE_S):
            while reply not in self.heard:
                self._news.clear()
                await self._news.wait()
        return self.heard.pop(reply)

    async def subjects(self) -> list[str]:
        """What the manager listens to: what it tells of itself, and what launches report on."""
        answer = await self.client.request(f"$SRV.INFO.{subjects.SERVICE_NAME}", b"", timeout=PATIENCE_S)
        info = json.loads(answer.data)
        control = [f"$SRV.{verb}{end}" for verb in ("PING", "INFO", "STATS") for end in ("", f".{info['name']}")]
        reports = [subjects.node_statuses(self.cast.node_id), subjects.node_metrics(self.cast.node_id)]
        feeds = [subjects.STATUS_FEED, subjects.METRICS_FEED]
        return [*(endpoint["subject"] for endpoint in info["endpoints"]), *control, *reports, *feeds]

    async def _hear(self, message: Msg) -> None:
        self.heard[message.subject] = Published(message.subject, message.data, message.headers or {})
        self._news.set()


@asynccontextmanager
async def under_attack(folder: Path) -> AsyncIterator[Attacker]:
    """A node with an agent that nobody means, one that may be started and stopped, and the one who attacks."""
    async with node_under_test(folder) as node:
        sdk_agent(node.packages, "steady", extra=QUICK_HEARTBEAT)
        sdk_agent(node.packages, "prey", extra=QUICK_HEARTBEAT)
        await node.up()
        launches = {name: await launch_of(node, name) for name in ("steady", "prey")}
        cast = Cast(
            node_id=(await node.get("/nodes"))["items"][0]["id"],
            prey="prey",
            launch_id=launches["prey"],
            steady="steady_0",
            steady_launch_id=launches["steady"],
        )
        credentials = str(node.data_dir / "nats" / "manager.creds")
        client = await nats.connect(node.state["nats_url"], user_credentials=credentials, inbox_prefix=MANAGER)
        try:
            attacker = Attacker(node, client, cast)
            await attacker.listen()
            yield attacker
        finally:
            await client.close()


async def launch_of(node: Node, name: str) -> str:
    running = await node.until(name, "running")
    return psutil.Process(running["pid"]).environ()["AGENT_LAUNCH_ID"]


@contextmanager
def attacked(folder: Path) -> Iterator[tuple[Attacker, asyncio.Runner]]:
    """The same for tests whose examples take turns with the event loop; afterwards the node is as it was."""
    with asyncio.Runner() as runner:
        context = under_attack(folder)
        attacker = runner.run(context.__aenter__())
        try:
            before = runner.run(state_of(attacker.node))
            yield attacker, runner
            runner.run(check_as_before(attacker, before))
        finally:
            runner.run(context.__aexit__(None, None, None))


async def state_of(node: Node) -> dict[str, Any]:
    steady = await node.instance("steady")
    services = {name: node.pid(name) for name in ("launcher", "manager", "api", "nats")}
    return {**services, **{name: steady[name] for name in ("pid", "incarnation", "restarts", "status")}}


async def check_as_before(attacker: Attacker, before: dict[str, Any]) -> None:
    """Nothing was disturbed: same processes, heartbeats are counted, commands and events work, logs are clean."""
    node = attacker.node
    assert await state_of(node) == before
    last = (await node.instance("steady"))["last_heartbeat"]

    async def heard_again() -> bool:
        return bool((await node.instance("steady"))["last_heartbeat"] > last)

    await eventually(heard_again)
    answer = await node.command(attacker.client, "restart", "prey", wait_s=30)
    assert (answer["status"], answer["result"]["done"]) == ("success", True)
    async with reading(node_http(node), "/events", agent_id="prey", type="stop_requested") as events:
        await events.until_marked()
        answer = await node.command(attacker.client, "stop", "prey", wait_s=30)
        assert (answer["status"], answer["result"]["done"]) == ("success", True)
        async with asyncio.timeout(PATIENCE_S):
            assert (await events.next()).event == "stop_requested"
    assert {agent["id"] for agent in (await node.get("/agents"))["items"]} == {"steady", "prey"}
    check_logs(node)


def node_http(node: Node) -> Any:
    node.http.base_url = node.state["api_url"]
    return node.http


def check_logs(node: Node) -> None:
    """Nobody has logged an error or a traceback."""
    for service in ("manager", "api"):
        assert [line for line in node.log(service) if line["level"] in ("error", "critical")] == []
    logs = [path for path in (node.data_dir / "logs").rglob("*.log*") if path.is_file()]
    assert logs
    for path in logs:
        assert "Traceback" not in path.read_text(encoding="utf-8", errors="replace"), path


def test_whatever_is_sent_the_node_goes_on_as_before(tmp_path: Path) -> None:
    with attacked(tmp_path) as (attacker, runner):
        patterns = runner.run(attacker.subjects())
        sources = st.one_of(
            *(messages_of(attacker.cast, pattern) for pattern in patterns),
            st.tuples(st.just("agent.steady_0.command"), hostile.bodies(hostile.valid(Envelope, command=HARMLESS))),
            st.tuples(st.just("agent.log.steady_0.out"), hostile.bodies(hostile.valid(LogLines))),
        )
        process = psutil.Process(attacker.node.pid("manager"))
        rss = process.memory_info().rss

        @settings(hostile.thorough, max_examples=350)
        @given(message=sources, headers=hostile.HEADERS)
        def try_it(message: tuple[str, bytes], headers: dict[str, str] | None) -> None:
            runner.run(attacker.send(*message, headers))

        try_it()
        assert process.memory_info().rss - rss < 200_000_000


def test_what_nobody_can_read_holds_up_nobody(tmp_path: Path) -> None:
    with attacked(tmp_path) as (attacker, runner):
        cast = attacker.cast
        targets = [
            *("agent.manager.command", "agent.manager.agents.list", "agent.manager.api.agents.list", "$SRV.PING"),
            *(
                f"agent.status.{cast.speaker}",
                f"agent.metrics.{cast.speaker}",
                "agent.prey_0.command",
                "agent.prey_0.x",
            ),
            "agent.log.prey_0.out",
            *(f"{subjects.MANAGER_INBOX_PREFIX}.a.b", f"{subjects.API_INBOX_PREFIX}.a.b"),
        ]
        for target in targets:
            for wire in (*hostile.unreadable(target).values(), *hostile.barely_readable(target).values()):
                runner.run(attacker.send_wire(wire))
            runner.run(attacker.send("agent.manager.agents.list", b"", None))
            runner.run(attacker.send("agent.manager.api.agents.list", b"", None))
            runner.run(attacker.send("agent.steady_0.command", ping(), None))


def ping() -> bytes:
    return json.dumps({"command": "ping", "params": {}, "timestamp": hostile.MOMENT}).encode()


async def test_an_agent_that_answers_nonsense_when_it_is_to_drain_is_stopped_all_the_same(tmp_path: Path) -> None:
    async with under_attack(tmp_path) as attacker:
        node, manager = attacker.node, attacker.node.pid("manager")
        nonsense: list[dict[str, Any]] = [
            {"result": "drained"},
            {"result": 5},
            {"result": [1]},
            {"status": "perhaps"},
            {"error": 7},
        ]
        for changes in nonsense:
            whole = {"status": "success", "command": "drain", "timestamp": hostile.MOMENT, **changes}

            async def answer(message: Msg, body: bytes = json.dumps(whole).encode()) -> None:
                await message.respond(body)

            # It answers sooner than the agent does, or the manager asks both: either way it is heard.
            listening = await attacker.client.subscribe("agent.prey_0.command", cb=answer)
            await settle(attacker.client)
            response = await node.command(attacker.client, "restart", "prey", wait_s=30)
            assert Response.model_validate(response).status == "success"
            await listening.unsubscribe()
        assert node.pid("manager") == manager
        check_logs(node)
