"""Whatever comes on any subject a manager listens to: every request is answered, and nothing else is disturbed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.domain.instances import Heartbeat
from agent_manager.protocol import operations, subjects
from agent_manager.protocol.errors import ErrorCode
from agent_manager.protocol.messages import Message, Response
from agent_manager.protocol.operations import OPERATIONS, ChangeParams, Kind, Operation
from agent_manager.transport.endpoints import Endpoints
from agent_manager.transport.handlers import Call, Handler, Handlers
from agent_manager.transport.reports import Reports
from tests.harness import hostile
from tests.harness.domain import agent
from tests.harness.hostile_requests import Cast, check_answers, envelopes, messages_of, requests_of
from tests.harness.memory_bus import MemoryClient, Published
from tests.unit.services.bench import NODE, Bench, bench

STEADY = "steady_0"
CAST = Cast(node_id=NODE, prey="echo", launch_id="launch1", steady=STEADY, steady_launch_id="launch2")


@dataclass
class Requests:
    """Takes the place of the group that requests are tasks of: none may fail, and all can be waited for."""

    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def create_task(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine, name=name))
        return self.tasks[-1]

    async def done(self) -> None:
        tasks, self.tasks = self.tasks, []
        await asyncio.gather(*tasks)


class Target:
    """A manager's listeners over its real services; `called` are the operations that were carried out."""

    def __init__(self, it: Bench) -> None:
        self.bench = it
        self.client = MemoryClient()
        self.requests = Requests()
        self.called: list[Operation] = []
        self.updates: list[Message] = []
        table = Handlers(it.commands, it.queries, it.following).table()
        self.endpoints = Endpoints(
            handlers={operation: self._impatient(operation, handler) for operation, handler in table.items()},
            tasks=cast(asyncio.TaskGroup, self.requests),
            version="1.0.0",
            node_id=NODE,
        )
        self.reports = Reports(
            supervisor=it.supervisor,
            counters=it.counters,
            publish=lambda _, message: self.updates.append(message),
            node_id=NODE,
            shared=True,
        )

    async def begin(self) -> None:
        """Listen, with two agents that run."""
        await self.bench.save(agent("echo"), agent("steady"))
        await self.bench.running("echo_0")
        launch = (await self.bench.running(STEADY)).launch
        assert launch is not None
        assert launch.launch_id == CAST.steady_launch_id
        await self.reports.register(self.client.as_client)
        await self.endpoints.register(self.client.as_client)

    async def take(self, subject: str, body: bytes, reply: str, headers: dict[str, str] | None) -> list[Published]:
        """What is said to one message."""
        assert await self.client.deliver(subject, body, reply=reply, headers=headers) >= 1
        await self.requests.done()
        return self.client.taken()

    async def ask(self, operation: Operation, **fields: Any) -> Response:
        """A request that means well."""
        subject = subjects.operation(operation.resource, operation.verb)
        (answer,) = await self.take(subject, json.dumps(fields).encode(), "_INBOX.a.b", None)
        return Response.model_validate_json(answer.body)

    def _impatient(self, operation: Operation, handler: Handler) -> Handler:
        async def handle(call: Call) -> Message:
            self.called.append(operation)
            assert call.actor is None or (call.actor and call.actor.isprintable())
            if isinstance(call.params, ChangeParams):
                call = replace(call, params=call.params.model_copy(update={"wait_s": 0.0}))
            return await handler(call)

        return handle


@contextmanager
def target() -> Iterator[tuple[Target, Callable[[Coroutine[Any, Any, Any]], Any]]]:
    """A target that lives over many examples, and what runs a coroutine in its event loop."""
    with asyncio.Runner() as runner:
        context = bench()
        it = Target(runner.run(context.__aenter__()))
        try:
            runner.run(it.begin())
            yield it, runner.run
        finally:
            runner.run(context.__aexit__(None, None, None))


def test_whatever_comes_is_answered_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with target() as (it, run):
        # Whatever is listened to is tried: a pattern that is new here has to be thought of.
        sources = st.one_of(*(messages_of(CAST, pattern) for pattern in it.client.listening))
        steady, heard = it.bench.instance(STEADY), dict(it.bench.supervisor.heartbeats)

        @settings(hostile.thorough, max_examples=2_500)
        @given(message=sources, reply=hostile.REPLIES, headers=hostile.HEADERS)
        def try_it(message: tuple[str, bytes], reply: str, headers: dict[str, str] | None) -> None:
            subject, body = message
            check_answers(subject, reply, run(it.take(subject, body, reply, headers)))
            hostile.check_log(caplog)
            assert it.bench.instance(STEADY) == steady
            assert it.bench.supervisor.heartbeats[STEADY] == heard[STEADY]
            assert set(it.bench.supervisor.instances) == {"echo_0", STEADY}
            assert set(it.bench.supervisor.heartbeats) <= {"echo_0", STEADY}

        try_it()
        assert set(it.called) == set(OPERATIONS)
        assert it.updates != []
        assert not it.bench.counters.of(it.bench.instance(STEADY))
        assert run(it.ask(operations.AGENTS_STATUS, agent_id="steady")).status == "success"
        assert run(it.ask(operations.AGENTS_RESTART, agent_id="steady")).status == "success"
        it.bench.heartbeat(STEADY, load=0.5)
        assert it.bench.supervisor.heartbeats[STEADY] == Heartbeat(number=1, load=0.5)


def test_nothing_is_carried_out_after_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    stale = st.sampled_from(hostile.STALE)
    commands = [operation for operation in OPERATIONS if operation.kind is Kind.COMMAND]
    with target() as (it, run):
        sources = st.one_of(
            st.tuples(st.just(subjects.MANAGER_COMMAND), envelopes(CAST, deadline=stale)),
            *(
                st.tuples(
                    st.just(build(operation.resource, operation.verb)), requests_of(CAST, operation, deadline=stale)
                )
                for operation in commands
                for build in (subjects.operation, subjects.api_operation)
            ),
        )
        writes = it.bench.store.writes

        @settings(hostile.thorough, max_examples=300)
        @given(message=sources)
        def try_it(message: tuple[str, dict[str, Any]]) -> None:
            subject, document = message
            (answer,) = run(it.take(subject, json.dumps(document).encode(), "_INBOX_api.a.b", None))
            error = Response.model_validate_json(answer.body).error
            assert error is not None
            known = operations.of_envelope(document["command"]) if "command" in document else True
            assert error.code == (ErrorCode.STALE if known else ErrorCode.INVALID_REQUEST)

        try_it()
        hostile.check_log(caplog)
        assert it.called == []
        assert it.bench.store.writes == writes
