"""The manager as a NATS micro service, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.domain.errors import NotFoundError
from agent_manager.ports.observation import Unobserved
from agent_manager.protocol import headers, operations, resources, subjects, tracing
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import OPERATIONS, PACKAGES_RETRY, Operation
from agent_manager.transport import endpoints as endpoints_module
from agent_manager.transport.endpoints import Endpoints
from agent_manager.transport.handlers import Call
from tests.harness.nats_server import NatsHarness, settle
from tests.harness.waiting import eventually

Answers = dict[Operation, Callable[[Call], Awaitable[Message]]]
NOW = datetime.now(UTC).isoformat()


class Ledger(Unobserved):
    """Keeps what it is told of requests."""

    def __init__(self) -> None:
        self.begun = 0
        self.answered: list[tuple[str, str]] = []

    def request_begun(self) -> None:
        self.begun += 1

    def request_answered(self, operation: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.answered.append((operation, outcome))


class Manager:
    """Endpoints with handlers that a test replaces, and the calls that reached them."""

    def __init__(self, client: Client, tasks: asyncio.TaskGroup) -> None:
        self.client = client
        self.calls: list[tuple[str, Call]] = []
        self.answer: Callable[[Call], Awaitable[Message]] = self.nothing
        handlers = {operation: self._handler(operation) for operation in OPERATIONS}
        self.ledger = Ledger()
        self.endpoints = Endpoints(
            handlers=handlers, tasks=tasks, version="1.2.3", node_id="node-1", observer=self.ledger
        )

    def _handler(self, operation: Operation) -> Callable[[Call], Awaitable[Message]]:
        async def handle(call: Call) -> Message:
            self.calls.append((operation.name, call))
            return await self.answer(call)

        return handle

    async def nothing(self, _: Call) -> Message:
        return resources.AgentList(items=[])


@pytest.fixture
async def manager(nats: NatsHarness, tasks: asyncio.TaskGroup) -> Manager:
    made = Manager(await nats.connect_as_manager(), tasks)
    await made.endpoints.register(made.client)
    await settle(made.client)
    return made


@pytest.fixture
async def service(nats: NatsHarness) -> Client:
    return await nats.connect_as_service()


async def ask(client: Client, subject: str, body: bytes = b"", **heads: str) -> dict[str, Any]:
    answer = await client.request(subject, body, timeout=20.0, headers=heads or None)
    response: dict[str, Any] = json.loads(answer.data)
    if response["status"] == "error":
        assert answer.headers is not None
        assert answer.headers["Nats-Service-Error-Code"] == response["error"]["code"]
        assert answer.headers["Nats-Service-Error"]
    return response


def envelope(**fields: Any) -> bytes:
    return json.dumps({"command": "agents.list", "params": {}, "timestamp": NOW, **fields}).encode()


def own(operation: Operation) -> str:
    return subjects.operation(operation.resource, operation.verb)


def api(operation: Operation) -> str:
    return subjects.api_operation(operation.resource, operation.verb)


async def test_every_operation_is_answered_on_a_subject_of_its_own(manager: Manager, service: Client) -> None:
    for operation in OPERATIONS:
        params = {"name": "echo"} if operation is PACKAGES_RETRY else {}
        body = json.dumps({"id": "7", "params": params, **({"agent_id": "echo"} if operation.agent else {})}).encode()
        response = await ask(service, own(operation), body)
        assert (response["status"], response["command"], response["id"]) == ("success", operation.name, "7")
    assert [name for name, _ in manager.calls] == [operation.name for operation in OPERATIONS]


async def test_an_envelope_is_answered_like_the_operation_it_names(manager: Manager, service: Client) -> None:
    response = await ask(service, subjects.MANAGER_COMMAND, envelope(command="start", agent_id="echo"))
    assert (response["status"], response["command"], response["agent_id"]) == ("success", "start", "echo")
    assert manager.calls[0][0] == "agents.start"
    assert (await ask(service, subjects.MANAGER_QUERY, envelope()))["status"] == "success"
    refused = await ask(service, subjects.MANAGER_QUERY, envelope(command="stop", agent_id="echo"))
    assert refused["error"]["code"] == "invalid_request"


async def test_what_goes_wrong_is_an_answer(manager: Manager, service: Client) -> None:
    async def not_found(_: Call) -> Message:
        raise NotFoundError("agent nobody not found", detail={"agent_id": "nobody"})

    manager.answer = not_found
    response = await ask(service, own(operations.AGENTS_GET), b'{"agent_id": "nobody"}')
    assert response["error"] == {
        "code": "not_found",
        "message": "agent nobody not found",
        "detail": {"agent_id": "nobody"},
        "retryable": False,
    }
    assert (await ask(service, own(operations.AGENTS_GET), b"{"))["error"]["code"] == "invalid_request"


async def test_a_fault_of_ours_is_in_the_log_and_never_in_the_answer(
    manager: Manager, service: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: Call) -> Message:
        raise RuntimeError("the secret is 42")

    manager.answer = broken
    response = await ask(service, own(operations.AGENTS_LIST))
    assert response["error"]["code"] == "internal"
    assert "secret" not in json.dumps(response)
    (said,) = [record for record in caplog.records if record.message == "request_failed"]
    assert said.exc_info is not None


async def test_a_result_that_is_no_text_is_a_fault_of_ours_and_nothing_worse(manager: Manager, service: Client) -> None:
    async def half_a_character(_: Call) -> Message:
        return resources.LogsResult.model_construct(agent_id="\ud800", streams=[])

    manager.answer = half_a_character
    assert (await ask(service, own(operations.AGENTS_LIST)))["error"]["code"] == "internal"
    manager.answer = manager.nothing
    assert (await ask(service, own(operations.AGENTS_LIST)))["status"] == "success"


async def test_an_answer_that_is_too_large_becomes_an_error_with_the_figure(manager: Manager, service: Client) -> None:
    async def huge(_: Call) -> Message:
        return resources.AgentList(items=[], next_page_token="x" * manager.client.max_payload)

    manager.answer = huge
    error = (await ask(service, own(operations.AGENTS_LIST)))["error"]
    assert error["code"] == "too_large"
    assert error["detail"]["max_bytes"] == manager.client.max_payload // 2


def held_back(manager: Manager) -> asyncio.Event:
    """Let the manager answer only once this is set."""
    release = asyncio.Event()

    async def slow(call: Call) -> Message:
        await release.wait()
        return await manager.nothing(call)

    manager.answer = slow
    return release


@pytest.mark.parametrize(("limit", "value"), [("MAX_AT_ONCE", 3), ("MAX_BYTES_AT_ONCE", 3_000)])
async def test_a_slow_request_holds_up_nobody_and_too_many_are_told_to_come_back(
    manager: Manager, service: Client, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(endpoints_module, limit, value)
    body, heads = b"{}".ljust(500), {"Of-No-Use": "x" * 491}
    release = held_back(manager)
    held = [asyncio.create_task(ask(service, own(operations.AGENTS_LIST), body, **heads)) for _ in range(3)]
    await eventually(lambda: len(manager.calls) == 3)
    busy = (await ask(service, own(operations.AGENTS_LIST), body))["error"]
    assert (busy["code"], busy["retryable"]) == ("busy", True)
    release.set()
    assert [(await answer)["status"] for answer in held] == ["success"] * 3
    assert (await ask(service, own(operations.AGENTS_LIST), body))["status"] == "success"


@pytest.mark.parametrize(("limit", "value"), [("MAX_WAITING", 1), ("MAX_BYTES_AT_ONCE", 150)])
async def test_those_who_wait_for_a_change_leave_room_for_others(
    manager: Manager, service: Client, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(endpoints_module, limit, value)
    release = held_back(manager)
    body = b'{"agent_id": "echo", "params": {"wait_s": 300}}'
    held = asyncio.create_task(ask(service, own(operations.AGENTS_STOP), body))
    await eventually(lambda: manager.calls)
    assert (await ask(service, own(operations.AGENTS_STOP), body))["error"]["code"] == "busy"
    manager.answer = manager.nothing
    assert (await ask(service, own(operations.AGENTS_LIST)))["status"] == "success"
    assert (await ask(service, own(operations.AGENTS_STOP), b'{"agent_id": "echo"}'))["status"] == "success"
    release.set()
    await held
    assert (await ask(service, own(operations.AGENTS_STOP), body))["status"] == "success"


async def test_what_was_sent_for_a_while_that_is_over_is_refused(manager: Manager, service: Client) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    body = json.dumps({"agent_id": "echo", "deadline": past}).encode()
    assert (await ask(service, own(operations.AGENTS_STOP), body))["error"]["code"] == "stale"
    assert manager.calls == []


async def test_who_asked_is_believed_only_where_the_api_alone_may_ask(
    nats: NatsHarness, manager: Manager, service: Client
) -> None:
    actor = {headers.ACTOR: "ada"}
    await ask(service, own(operations.AGENTS_START), b'{"agent_id": "echo"}', **actor)
    await ask(await nats.connect_as_api(), api(operations.AGENTS_START), b'{"agent_id": "echo"}', **actor)
    assert [call.actor for _, call in manager.calls] == [None, "ada"]


@pytest.mark.parametrize("actor", ["", "a\0b", "a\x1b[2J", "x" * 257])
async def test_a_name_that_nobody_could_read_in_the_record_is_refused(
    manager: Manager, nats: NatsHarness, actor: str
) -> None:
    body = b'{"agent_id": "echo"}'
    refused = await ask(
        await nats.connect_as_api(), api(operations.AGENTS_START), body, **{headers.ACTOR: actor, "x": "y"}
    )
    assert refused["error"]["code"] == "invalid_request"
    assert manager.calls == []


async def test_the_header_of_an_error_is_one_printable_line(manager: Manager, service: Client) -> None:
    async def not_found(_: Call) -> Message:
        raise NotFoundError("no\x1b[2J\0 such\r\n agent")

    manager.answer = not_found
    answer = await service.request(own(operations.AGENTS_LIST), b"", timeout=20.0)
    assert answer.headers is not None
    assert answer.headers["Nats-Service-Error"] == "no [2J  such agent"


async def listening(client: Client, subject: str) -> asyncio.Queue[Msg]:
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe(subject, cb=heard.put)
    await settle(client)
    return heard


async def test_an_envelope_without_a_reply_subject_is_answered_where_everybody_can_hear(
    manager: Manager, service: Client
) -> None:
    heard = await listening(service, subjects.MANAGER_RESPONSE)
    await service.publish(subjects.MANAGER_COMMAND, envelope())
    response = json.loads((await asyncio.wait_for(heard.get(), 20.0)).data)
    assert response["status"] == "success"


async def test_an_operation_without_a_reply_subject_is_not_carried_out(manager: Manager, service: Client) -> None:
    heard = await listening(service, subjects.MANAGER_RESPONSE)
    await service.publish(own(operations.AGENTS_STOP), b'{"agent_id": "echo"}')
    response = json.loads((await asyncio.wait_for(heard.get(), 20.0)).data)
    assert "name a reply subject" in response["error"]["message"]
    assert manager.calls == []


async def test_the_manager_says_nothing_in_somebody_elses_place(manager: Manager, service: Client) -> None:
    heard = await listening(service, subjects.MANAGER_RESPONSE)
    victim = await listening(manager.client, "agent.event.>")
    for subject in (own(operations.AGENTS_STOP), subjects.MANAGER_COMMAND):
        await service.publish(subject, envelope(agent_id="echo"), reply="agent.event.echo.running")
        response = json.loads((await asyncio.wait_for(heard.get(), 20.0)).data)
        assert "does not begin with _INBOX" in response["error"]["message"]
    await settle(manager.client)
    assert victim.empty()
    assert manager.calls == []


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_discovery_is_answered_in_inboxes_only(manager: Manager, service: Client, verb: str) -> None:
    victim = await listening(manager.client, "agent.event.>")
    service_id = json.loads((await service.request("$SRV.PING", timeout=20.0)).data)["id"]
    name = subjects.SERVICE_NAME
    for subject in (f"$SRV.{verb}", f"$SRV.{verb}.{name}", f"$SRV.{verb}.{name}.{service_id}"):
        await service.publish(subject, reply="agent.event.echo.running")
        await service.publish(subject)
        answer = json.loads((await service.request(subject, timeout=20.0)).data)
        assert (answer["type"], answer["name"]) == (f"io.nats.micro.v1.{verb.lower()}_response", name)
    await settle(manager.client)
    assert victim.empty()


async def test_on_the_subjects_of_the_api_only_its_own_inbox_is_answered(nats: NatsHarness, manager: Manager) -> None:
    stranger = await nats.connect_as_manager()
    await stranger.publish(api(operations.AGENTS_STOP), b'{"agent_id": "echo"}', reply=stranger.new_inbox())
    api_client = await nats.connect_as_api()
    assert (await ask(api_client, api(operations.AGENTS_LIST)))["status"] == "success"
    assert [name for name, _ in manager.calls] == ["agents.list"]


async def test_the_statistics_of_the_service_tell_how_requests_ended_and_how_long_they_took(
    manager: Manager, service: Client
) -> None:
    release = asyncio.Event()

    async def slow(_: Call) -> Message:
        await release.wait()
        raise NotFoundError("agent echo not found")

    manager.answer = slow
    waiting = asyncio.create_task(ask(service, own(operations.AGENTS_GET), b'{"agent_id": "echo"}'))
    await eventually(lambda: manager.calls)
    asyncio.get_running_loop().call_later(0.05, release.set)
    await waiting
    stats = json.loads((await service.request(f"$SRV.STATS.{subjects.SERVICE_NAME}", timeout=20.0)).data)
    endpoint = {endpoint["name"]: endpoint for endpoint in stats["endpoints"]}["agents-get"]
    assert (endpoint["num_requests"], endpoint["num_errors"]) == (1, 1)
    assert endpoint["last_error"] == "not_found:agent echo not found"
    assert endpoint["processing_time"] == endpoint["average_processing_time"] >= 49_000_000


async def test_the_service_says_which_node_it_is(manager: Manager, service: Client) -> None:
    info = json.loads((await service.request(f"$SRV.INFO.{subjects.SERVICE_NAME}", timeout=20.0)).data)
    assert (info["version"], info["metadata"]) == ("1.2.3", {"node_id": "node-1"})
    assert len(info["endpoints"]) == 2 + 2 * len(OPERATIONS)


async def test_an_answer_to_a_client_that_is_gone_harms_nobody(
    nats: NatsHarness, manager: Manager, service: Client
) -> None:
    release = held_back(manager)
    asker = await nats.connect_as_service()
    await asker.publish(own(operations.AGENTS_LIST), b"", reply=asker.new_inbox())
    await eventually(lambda: manager.calls)
    await asker.close()
    release.set()
    assert (await ask(service, own(operations.AGENTS_LIST)))["status"] == "success"


async def test_a_request_is_worked_on_under_the_ids_it_came_with(manager: Manager, service: Client) -> None:
    seen: list[dict[str, str]] = []

    async def note(_: Call) -> Message:
        seen.append(tracing.log_fields())
        return await manager.nothing(_)

    manager.answer = note
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    subject = own(operations.AGENTS_LIST)
    await ask(service, subject, b'{"id": "body"}', **traced, **{"X-Request-Id": "head"})
    await ask(service, subject, b'{"id": "body"}', **traced)
    await ask(service, subject, b"{}", traceparent="nonsense")
    first, second, third = seen
    assert first == {"request_id": "head", "trace_id": trace_id}
    assert second == {"request_id": "body", "trace_id": trace_id}
    assert len(third["trace_id"]) == len(third["request_id"]) == 32


async def test_requests_are_observed_by_operation_and_outcome(manager: Manager, service: Client) -> None:
    await ask(service, own(operations.AGENTS_LIST))
    await ask(service, subjects.MANAGER_COMMAND, envelope(command="start", agent_id="echo"))
    await ask(service, subjects.MANAGER_COMMAND, envelope(command="explode"))
    await ask(service, own(operations.AGENTS_GET))
    assert manager.ledger.begun == 4
    await eventually(lambda: len(manager.ledger.answered) == 4)
    assert manager.ledger.answered == [
        ("agents.list", "success"),
        ("agents.start", "success"),
        ("unknown", "invalid_request"),
        ("agents.get", "invalid_request"),
    ]


async def test_commands_and_refusals_have_a_line_each_and_mere_questions_have_none(
    manager: Manager, service: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        await ask(service, own(operations.AGENTS_LIST))
        await ask(service, own(operations.AGENTS_START), b'{"agent_id": "echo"}')
        await ask(service, own(operations.AGENTS_GET), b'{"agent_id": "no such id"}')
        await eventually(lambda: len(manager.ledger.answered) == 3)
    told = [vars(record) for record in caplog.records if record.message == "request_answered"]
    assert [(line["operation"], line["outcome"]) for line in told] == [
        ("agents.start", "success"),
        ("agents.get", "invalid_request"),
    ]
