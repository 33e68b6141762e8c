"""The manager's end of the launcher's protocol, against a peer that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent_manager.adapters.codec import INSTANCE
from agent_manager.adapters.launch_recipe import LaunchRecipe
from agent_manager.adapters.launcher_client import PROTOCOL, LauncherClient
from agent_manager.domain.exits import LastLines
from agent_manager.domain.instances import Instance, Launch, Target
from agent_manager.ports.launcher import (
    LaunchEmptied,
    LauncherError,
    LauncherEvent,
    LaunchExited,
    ShutdownRequested,
    SlotState,
    SpawnFailedError,
)
from tests.harness.domain import SPEC
from tests.harness.waiting import eventually

LAUNCH = Launch(launch_id="launch1", incarnation=1, restart_serial=0, spec=SPEC, asked_at=0.0)
INSTANCE_0 = Instance(agent_id="echo", ordinal=0, target=Target(run=True, spec=SPEC), launch=LAUNCH, held="launch1")
EXIT = {
    "slot": "echo_0",
    "launch_id": "launch1",
    "pid": 7,
    "code": 3,
    "signal": None,
    "core_dumped": False,
    "max_rss_kb": 1,
    "user_s": 0.1,
    "system_s": 0.2,
    "started_at": 1.0,
    "ended_at": 2.0,
    "last_lines": None,
}
HELLO = {"type": "hello", "protocol": PROTOCOL, "launcher_pid": 42, "run": "r", "slots": []}


def slot(**changes: Any) -> dict[str, Any]:
    return {
        "slot": "echo_0",
        "launch_id": "launch1",
        "state": "running",
        "pid": 7,
        "started_at": 1.0,
        "metadata": INSTANCE.encode(INSTANCE_0),
        "not_after": None,
        "exits": [],
        "exits_dropped": 0,
        **changes,
    }


@dataclass
class Peer:
    """A scripted launcher and the client under test."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    client: LauncherClient
    events: list[LauncherEvent] = field(default_factory=list)
    running: asyncio.Task[None] | None = None

    def say(self, frame: object) -> None:
        body = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        self.writer.write(struct.pack("!I", len(body)) + body)

    async def hear(self) -> dict[str, Any]:
        (length,) = struct.unpack("!I", await self.reader.readexactly(4))
        frame: dict[str, Any] = json.loads(await self.reader.readexactly(length))
        return frame

    async def connected(self, **hello: Any) -> None:
        self.say({**HELLO, **hello})
        await self.client.connect()
        self.running = asyncio.create_task(self.client.run(self.events.append))

    def spawn(self) -> asyncio.Task[tuple[int, float]]:
        return asyncio.create_task(self.client.spawn(INSTANCE_0, None, "/creds"))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    recipe = LaunchRecipe(
        node_id="node-1", bus={}, python="python", output_stem=lambda name: f"/logs/{name}", inherited={}
    )
    client = LauncherClient(theirs.detach(), recipe)
    made = Peer(reader, writer, client)
    yield made
    await client.close()
    if made.running is not None:
        await asyncio.gather(made.running, return_exceptions=True)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_new_manager_is_handed_every_slot(peer: Peer) -> None:
    peer.say(
        {
            **HELLO,
            "slots": [
                slot(exits=[EXIT, {**EXIT, "last_lines": {}}]),
                slot(slot="other_0", state="launching", pid=None),
            ],
        }
    )
    first, second = await peer.client.connect()
    assert peer.client.launcher_pid == 42
    assert (first.instance, first.state, first.pid) == (INSTANCE_0, SlotState.RUNNING, 7)
    assert [(exit_.code, exit_.last_lines) for exit_ in first.exits] == [(3, None)] * 2
    assert (second.instance_id, second.state, second.pid) == ("other_0", SlotState.LAUNCHING, None)


@pytest.mark.parametrize("metadata", [None, {}, {"agent_id": 7}, "x"])
async def test_metadata_that_cannot_be_read_costs_nothing_else(peer: Peer, metadata: object) -> None:
    peer.say({**HELLO, "slots": [slot(metadata=metadata), slot(slot="other_0")]})
    unreadable, readable = await peer.client.connect()
    assert unreadable.instance is None
    assert readable.instance == INSTANCE_0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({**HELLO, "protocol": PROTOCOL + 1}, f"protocol {PROTOCOL + 1}, this manager {PROTOCOL}"),
        ({**HELLO, "type": "ping"}, "speaks protocol"),
        ({"type": "hello"}, "cannot be understood"),
        ({**HELLO, "slots": [{}]}, "cannot be understood"),
        ({**HELLO, "slots": [slot(state="dreaming")]}, "cannot be understood"),
        ([], "cannot be understood"),
        (b"{", "cannot be understood"),
        (b"\xff", "cannot be understood"),
    ],
)
async def test_a_launcher_that_cannot_be_understood_is_refused(peer: Peer, frame: object, message: str) -> None:
    peer.say(frame)
    with pytest.raises(LauncherError, match=message):
        await peer.client.connect()


async def test_a_launcher_that_is_gone_before_it_has_greeted_is_said_to_be_gone(peer: Peer) -> None:
    peer.writer.close()
    with pytest.raises(LauncherError, match="has closed the connection"):
        await peer.client.connect()


async def test_a_ping_is_answered_with_its_number(peer: Peer) -> None:
    await peer.connected()
    peer.say({"type": "ping", "number": 5})
    assert await peer.hear() == {"type": "pong", "number": 5}


async def test_events_arrive_in_order_and_unknown_ones_are_passed_over(peer: Peer) -> None:
    await peer.connected()
    peer.say({"type": "exited", "exit": EXIT})
    peer.say({"type": "drained", "exit": {**EXIT, "last_lines": {"out": ["both"]}}})
    peer.say({"type": "of-a-newer-launcher"})
    peer.say({"type": "empty", "slot": "echo_0", "launch_id": "launch1"})
    peer.say({"type": "shutdown", "hurry": True})
    await eventually(lambda: len(peer.events) == 4)
    exited, drained, emptied, shutdown = peer.events
    assert isinstance(exited, LaunchExited)
    assert (exited.instance_id, exited.exit.code) == ("echo_0", 3)
    assert drained == replace(exited, exit=replace(exited.exit, last_lines=LastLines(out=("both",))))
    assert emptied == LaunchEmptied(instance_id="echo_0", launch_id="launch1")
    assert shutdown == ShutdownRequested(hurry=True)


async def test_a_spawn_says_everything_and_returns_process_and_start(peer: Peer) -> None:
    await peer.connected()
    spawning = peer.spawn()
    asked = await peer.hear()
    assert {key: asked[key] for key in ("type", "slot", "launch_id", "expected_launch_id", "argv", "cwd")} == {
        "type": "spawn",
        "slot": "echo_0",
        "launch_id": "launch1",
        "expected_launch_id": None,
        "argv": ["python", "/packages/echo/agent.py"],
        "cwd": "/packages/echo",
    }
    assert asked["env"]["NATS_CREDS"] == "/creds"
    assert asked["output"]["err"] == {"path": "/logs/echo_0.err.log", "max_bytes": 10_000_000, "files": 5}
    assert INSTANCE.decode(asked["metadata"]) == INSTANCE_0
    peer.say({"type": "reply", "id": asked["id"], "ok": True, "result": {"pid": 9, "started_at": 5.5}})
    assert await spawning == (9, 5.5)


@pytest.mark.parametrize(
    ("code", "tried"), [("spawn_failed", True), ("conflict", False), ("invalid", False), ("of-the-future", False)]
)
async def test_a_refused_spawn_says_why_and_whether_it_was_tried(peer: Peer, code: str, tried: bool) -> None:
    await peer.connected()
    spawning = peer.spawn()
    asked = await peer.hear()
    peer.say({"type": "reply", "id": asked["id"], "ok": False, "error": {"code": code, "message": "exec: no"}})
    with pytest.raises(LauncherError, match="exec: no") as refused:
        await spawning
    assert isinstance(refused.value, SpawnFailedError) is tried


async def test_answers_find_their_requests_whatever_their_order(peer: Peer) -> None:
    await peer.connected()
    first, second = peer.spawn(), peer.spawn()
    numbers = [(await peer.hear())["id"], (await peer.hear())["id"]]
    for number in reversed(numbers):
        peer.say({"type": "reply", "id": number, "ok": True, "result": {"pid": number, "started_at": 0.0}})
    assert [(await first)[0], (await second)[0]] == numbers


async def test_an_instance_without_a_launch_is_not_spawned(peer: Peer) -> None:
    await peer.connected()
    with pytest.raises(LauncherError, match="echo_0 has no launch"):
        await peer.client.spawn(replace(INSTANCE_0, launch=None), None, "/creds")


async def test_what_agents_share_is_made_ready_once(peer: Peer) -> None:
    await peer.connected(understands=["expect"])
    for spec in (replace(SPEC, entrypoint=None, command=("sleep",)), SPEC, replace(SPEC, name="other")):
        peer.client.expect(spec)
    peer.client.ready()
    said, then = await peer.hear(), await peer.hear()
    assert (said["type"], said["python"], then["type"]) == ("expect", "python", "ready")
    assert "agent_manager.sdk.rehearsal" in said["zygote"]["preload"]


async def test_an_older_launcher_is_not_asked_for_what_it_does_not_know(peer: Peer) -> None:
    await peer.connected()
    peer.client.expect(SPEC)
    peer.client.ready()
    assert (await peer.hear())["type"] == "ready"


async def test_what_is_merely_said_keeps_its_order_and_a_refusal_of_it_harms_nobody(peer: Peer) -> None:
    await peer.connected()
    peer.client.update(INSTANCE_0)
    peer.client.update(replace(INSTANCE_0, held=None))
    peer.client.signal("echo_0", "launch1", "SIGTERM")
    peer.client.acknowledge("echo_0", "launch1")
    peer.client.release("echo_0")
    peer.client.ready()
    said = [await peer.hear() for _ in range(5)]
    assert [frame["type"] for frame in said] == ["update", "signal", "ack", "release", "ready"]
    assert said[1] == {
        "type": "signal",
        "id": said[1]["id"],
        "slot": "echo_0",
        "launch_id": "launch1",
        "signal": "SIGTERM",
        "scope": "tree",
    }
    peer.say({"type": "reply", "id": said[0]["id"], "ok": False, "error": {"code": "conflict", "message": "no"}})
    peer.say({"type": "ping", "number": 1})
    assert (await peer.hear())["type"] == "pong"


async def test_a_closed_connection_ends_the_run_and_fails_what_is_open_and_what_comes(peer: Peer) -> None:
    await peer.connected()
    spawning = peer.spawn()
    await peer.hear()
    peer.writer.close()
    assert peer.running is not None
    with pytest.raises(LauncherError, match="has closed the connection"):
        await peer.running
    with pytest.raises(LauncherError, match="has closed the connection"):
        await spawning
    with pytest.raises(LauncherError, match="not connected"):
        await peer.client.spawn(INSTANCE_0, None, "/creds")
    peer.client.ready()


@pytest.mark.parametrize("frame", [b"{", [], {}, {"type": "exited"}, {"type": "exited", "exit": {}}])
async def test_a_frame_that_cannot_be_understood_ends_the_run(peer: Peer, frame: object) -> None:
    await peer.connected()
    peer.say(frame)
    assert peer.running is not None
    with pytest.raises(LauncherError, match="cannot be understood"):
        await peer.running


async def test_closing_ends_the_run_without_an_error(peer: Peer) -> None:
    await peer.connected()
    await peer.client.close()
    assert peer.running is not None
    await peer.running


async def test_nothing_can_be_run_before_it_is_connected(peer: Peer) -> None:
    with pytest.raises(LauncherError, match="not connected"):
        await peer.client.run(peer.events.append)
    peer.say(HELLO)
    await peer.client.connect()
