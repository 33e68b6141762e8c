"""Whatever comes on the subjects of an agent: every request is answered, and the agent goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import nats.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg

from agent_manager.nats_access.access import Access
from agent_manager.protocol import commands, subjects
from agent_manager.protocol.errors import ErrorCode
from agent_manager.protocol.messages import Envelope, Response
from agent_manager.sdk.configuration import Configuration
from agent_manager.sdk.connection import Connection, Listening, Received
from agent_manager.sdk.definition import Definition
from agent_manager.sdk.ending import Ending
from agent_manager.sdk.instance import Instance, Options, Parts
from agent_manager.sdk.launch_environment import Identity, LaunchSettings
from agent_manager.sdk.metrics import Metrics
from tests.harness import hostile
from tests.harness.fakes import owned_tasks
from tests.harness.hostile_requests import check_answer
from tests.harness.memory_bus import MemoryClient, Published
from tests.harness.waiting import eventually

IDENTITY = Identity(
    agent_id="worker",
    name="worker",
    type="agent",
    version="1.2.3",
    node_id="node-1",
    instance_id="worker_0",
    launch_id="launch-0",
    incarnation=1,
)
# A drain that is meant for this launch is for good; what else may be wrong with one is tried apart.
COMMANDS = st.sampled_from(
    [*sorted(commands.BUILT_IN - {commands.DRAIN}), "echo", "echo", "", "Ping", "ping\0", "start"]
)


class MemoryConnection:
    """The connection of an instance, over a bus that is not there."""

    def __init__(self) -> None:
        self.client = MemoryClient()
        self.max_payload = self.client.max_payload
        self.is_connected = True

    def on_reconnected(self, action: Callable[[], Awaitable[None]]) -> None:
        """Never."""

    async def subscribe(self, subject: str, received: Received, *, queue: str = "") -> Listening:
        await self.client.subscribe(subject, cb=received)
        return Listening(subject, received, queue)

    async def send(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        await self.client.publish(subject, payload, headers=headers)

    async def answer(
        self, message: Msg, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            await self.client.publish(subject, payload, headers=headers)
        except nats.errors.BadSubjectError:
            return


class Target:
    """An instance as its process runs it; requests are tasks of a group that ends when one fails."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.connection = MemoryConnection()
        self.tasks = tasks
        self.ending = Ending()
        self.before: set[asyncio.Task[Any]] = set()

        async def echo(params: Mapping[str, Any]) -> Any:
            return params

        parts = Parts(
            definition=Definition(commands={"echo": echo}),
            options=Options(max_concurrent_commands=4, stop_grace_s=1.0, metrics_interval_s=3_600.0),
            settings=LaunchSettings(
                identity=IDENTITY, access=Access(servers=()), remarks=(), heartbeat_interval_s=None, config={}
            ),
            metrics=Metrics(),
            configuration=Configuration({}, None),
        )
        self.instance = Instance(parts, cast(Connection, self.connection), self.ending, tasks)

    async def begin(self) -> None:
        """Listen to everything."""
        self.living = self.tasks.create_task(self.instance.live())
        listening = self.connection.client.listening
        await eventually(lambda: subjects.agent_command("worker") in listening and len(listening) >= 12)
        self.connection.client.taken()

    async def take(self, subject: str, body: bytes, reply: str, headers: dict[str, str] | None) -> list[Published]:
        """What is said to one message, but for heartbeats."""
        assert not self.living.done()
        before = asyncio.all_tasks()
        assert await self.connection.client.deliver(subject, body, reply=reply, headers=headers) >= 1
        requests = asyncio.all_tasks() - before
        if requests:
            await asyncio.gather(*requests)
        return [said for said in self.connection.client.taken() if not said.subject.startswith("agent.status.")]

    async def ask(self, command: str, **params: Any) -> Response:
        """A command that means well."""
        body = json.dumps({"command": command, "params": params, "timestamp": hostile.MOMENT}).encode()
        (answer,) = await self.take(subjects.agent_command("worker_0"), body, "_INBOX.a.b", None)
        return Response.model_validate_json(answer.body)


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    async with owned_tasks() as tasks:
        it = Target(tasks)
        await it.begin()
        yield it


def messages_of(pattern: str, **fixed: Any) -> st.SearchStrategy[tuple[str, bytes]]:
    """Subjects and bodies for a pattern that is listened to."""
    bodies = hostile.bodies(hostile.valid(Envelope, **{"command": COMMANDS, **fixed}))
    if pattern.startswith("$SRV."):
        bodies = hostile.JUNK
    ends = ["command", "command", "command", "query", "task", "message", "a.b.c", "é", "\x0b", "x" * 300]
    return st.tuples(st.sampled_from(ends).map(lambda end: pattern.replace(">", end)), bodies)


def check_answers(subject: str, reply: str, said: list[Published]) -> None:
    """One answer to each request that can have one, in the form of the wire."""
    is_request = subject.endswith((".command", ".query"))
    if any(character.isspace() for character in reply) or not (reply or is_request):
        assert said == []
        return
    (answer,) = said
    assert answer.subject == (reply or subjects.agent_response("worker"))
    if subject.startswith("$SRV."):
        return
    check_answer(answer)


def test_whatever_comes_is_answered_and_the_agent_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with asyncio.Runner() as runner:
        context = target()
        it = runner.run(context.__aenter__())
        sources = st.one_of(*(messages_of(pattern) for pattern in it.connection.client.listening))

        @settings(hostile.thorough, max_examples=1_500)
        @given(message=sources, reply=hostile.REPLIES, headers=hostile.HEADERS)
        def try_it(message: tuple[str, bytes], reply: str, headers: dict[str, str] | None) -> None:
            subject, body = message
            check_answers(subject, reply, runner.run(it.take(subject, body, reply, headers)))
            hostile.check_log(caplog)

        try_it()
        assert runner.run(it.ask("resume")).status == "success"
        assert runner.run(it.ask("echo", a=1)).result == {"a": 1}
        assert runner.run(it.ask("ping")).result["status"] == "running"
        assert not it.ending.reached
        runner.run(context.__aexit__(None, None, None))


def test_no_command_is_carried_out_after_its_deadline_and_no_drain_that_is_for_another_launch() -> None:
    stale = hostile.valid(
        Envelope, command=st.sampled_from(sorted(commands.BUILT_IN)), deadline=st.sampled_from(hostile.STALE)
    )
    of_others = hostile.valid(
        Envelope,
        command=commands.DRAIN,
        params=st.fixed_dictionaries({"launch_id": hostile.HOSTILE_VALUES}),
        deadline=st.none(),
    )
    with asyncio.Runner() as runner:
        context = target()
        it = runner.run(context.__aenter__())

        @settings(hostile.thorough, max_examples=300)
        @given(document=stale | of_others)
        def try_it(document: dict[str, Any]) -> None:
            subject, body = subjects.agent_command("worker_0"), json.dumps(document).encode()
            (answer,) = runner.run(it.take(subject, body, "_INBOX.a.b", None))
            response = check_answer(answer)
            assert response.error is not None
            assert response.error.code in (ErrorCode.STALE, ErrorCode.CONFLICT, ErrorCode.INVALID_REQUEST)

        try_it()
        assert runner.run(it.ask("ping")).result["status"] == "running"
        assert runner.run(it.ask("config")).result == {"config": {}}
        runner.run(context.__aexit__(None, None, None))
