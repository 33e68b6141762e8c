"""Commands, built in and own, and every way in which one is refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from agent_manager.protocol import subjects
from agent_manager.protocol.messages import Response
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually
from tests.integration.sdk.running_agent import RunningAgent, envelope, running_agent

AGENT = """
import asyncio
import threading
from pathlib import Path

from agent_manager.sdk import Agent, CommandError, ErrorCode

agent = Agent(max_concurrent_commands=2)
gate = Path("gate")


@agent.command("echo")
async def echo(params):
    return params


@agent.command("thread")
def thread(params):
    return threading.current_thread() is threading.main_thread()


@agent.command("wait")
async def wait(params):
    while not gate.exists():
        await asyncio.sleep(0.01)
    return "waited"


@agent.command("fail")
async def fail(params):
    raise KeyError("colour")


@agent.command("stop-iteration")
def stop_iteration(params):
    raise StopIteration(1)


@agent.command("refuse")
def refuse(params):
    raise CommandError("no such document", code=ErrorCode.NOT_FOUND, detail={"document": params["document"]})


@agent.command("object")
async def an_object(params):
    return object()


@agent.command("not-a-number")
async def not_a_number(params):
    return float("nan")


@agent.command("large")
async def large(params):
    return "x" * params["bytes"]


@agent.on_config
def on_config(config):
    if "volume" not in config:
        raise ValueError("volume is missing")


@agent.command("greeting")
async def greeting(params):
    return agent.config.get("greeting"), agent.id, agent.instance_id, agent.launch_id


agent.run()
"""

HEALTHY = """
import asyncio
from pathlib import Path
from agent_manager.sdk import Agent

agent = Agent()
calls = 0

@agent.health
{function}

@agent.command("calls")
async def count(params):
    return calls

agent.run()
"""


@pytest.fixture
async def agent(nats: NatsHarness, folder: Path):  # type: ignore[no-untyped-def]
    async with running_agent(nats, folder, AGENT) as running:
        yield running


def refusal(response: Response) -> tuple[str, str]:
    """Code and message."""
    assert response.status == "error"
    assert response.error is not None
    return response.error.code, response.error.message


async def test_an_own_command_is_given_its_params_and_its_result_is_answered(agent: RunningAgent) -> None:
    response = await agent.ask("echo", {"number": 1, "text": "ü"}, id="request-1")
    assert (response.status, response.result) == ("success", {"number": 1, "text": "ü"})
    assert (response.id, response.command, response.agent_id) == ("request-1", "echo", "worker")


async def test_a_plain_function_runs_in_a_thread(agent: RunningAgent) -> None:
    assert (await agent.ask("thread")).result is False


async def test_a_query_is_answered_like_a_command(agent: RunningAgent) -> None:
    response = await agent.send(envelope("echo", {"a": 1}), subjects.agent_query(agent.instance_id))
    assert response.result == {"a": 1}


async def test_ping_says_who_answers(agent: RunningAgent) -> None:
    expected = {"pong": True, "instance_id": "worker_0", "launch_id": "launch-0", "status": "running"}
    assert (await agent.ask("ping")).result == expected


async def test_without_a_reply_subject_the_answer_goes_to_the_response_subject(
    agent: RunningAgent, nats: NatsHarness
) -> None:
    observer = await nats.connect_as_manager()
    responses = await observer.subscribe(subjects.agent_response(agent.agent_id))
    await observer.publish(subjects.agent_command(agent.agent_id), envelope("echo", {"a": 1}))
    message = await responses.next_msg(timeout=20)
    assert Response.model_validate_json(message.data).result == {"a": 1}


async def test_an_error_sets_the_headers_of_a_service_error(agent: RunningAgent, nats: NatsHarness) -> None:
    client = await nats.connect_as_manager()
    answer = await client.request(subjects.agent_command(agent.instance_id), envelope("unheard-of"), timeout=20)
    assert answer.headers is not None
    assert answer.headers[ERROR_CODE_HEADER] == "unsupported"
    assert "unheard-of" in answer.headers[ERROR_HEADER]


async def test_an_unknown_command_is_unsupported_and_the_known_ones_are_named(agent: RunningAgent) -> None:
    code, message = refusal(await agent.ask("unheard-of"))
    assert code == "unsupported"
    assert "'unheard-of'" in message
    assert "echo" in message
    assert "ping" in message


async def test_another_subject_of_the_instance_is_unsupported(agent: RunningAgent) -> None:
    code, message = refusal(await agent.send(b"{}", "agent.worker_0.task"))
    assert code == "unsupported"
    assert "agent.worker_0.task" in message


async def test_an_exception_is_answered_with_class_and_message_only(agent: RunningAgent) -> None:
    code, message = refusal(await agent.ask("fail"))
    assert (code, message) == ("internal", "KeyError: 'colour'")
    assert "Traceback" in agent.output


async def test_a_stop_iteration_in_a_thread_is_answered_too(agent: RunningAgent) -> None:
    assert refusal(await agent.ask("stop-iteration"))[0] == "internal"


async def test_a_handler_may_refuse_with_a_code_of_its_own(agent: RunningAgent) -> None:
    response = await agent.ask("refuse", {"document": 5})
    assert refusal(response) == ("not_found", "no such document")
    assert response.error is not None
    assert response.error.detail == {"document": 5}
    assert "Traceback" not in agent.output


@pytest.mark.parametrize("command", ["object", "not-a-number"])
async def test_a_result_that_is_not_json_is_an_internal_error_that_says_so(agent: RunningAgent, command: str) -> None:
    code, message = refusal(await agent.ask(command))
    assert code == "internal"
    assert "not JSON" in message


async def test_a_result_above_half_of_the_largest_payload_is_refused_with_the_figure(
    agent: RunningAgent, nats: NatsHarness
) -> None:
    limit = (await nats.connect_as_manager()).max_payload // 2
    assert len((await agent.ask("large", {"bytes": limit - 1_000})).result) == limit - 1_000
    code, message = refusal(await agent.ask("large", {"bytes": limit}))
    assert code == "too_large"
    assert f"{limit:,}" in message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"[1]", "JSON object"),
        (b'{"command": "echo", "timestamp": "2024-01-01T00:00:00Z"}', "'params'"),
        (b'{"command": "echo", "params": {}}', "'timestamp'"),
        (b'{"params": {}, "timestamp": "2024-01-01T00:00:00Z"}', "'command'"),
        (b'{"command": "echo", "params": [], "timestamp": "2024-01-01T00:00:00Z"}', "'params'"),
        (b'{"command": "echo", "params": {}, "timestamp": "2024-01-01T00:00:00"}', "'timestamp'"),
    ],
)
async def test_a_malformed_request_is_refused_with_what_is_wrong(agent: RunningAgent, data: bytes, said: str) -> None:
    code, message = refusal(await agent.send(data))
    assert code == "invalid_request"
    assert said in message


async def test_a_request_past_its_deadline_is_stale(agent: RunningAgent) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    assert refusal(await agent.ask("echo", deadline=past.isoformat()))[0] == "stale"


async def test_own_commands_beyond_the_limit_are_busy_and_built_in_ones_are_answered_still(
    agent: RunningAgent, folder: Path
) -> None:
    waiting = [asyncio.create_task(agent.ask("wait")) for _ in range(2)]
    await eventually(lambda: any(report.load == 1.0 for report in agent.heartbeats))
    busy = await agent.ask("echo")
    assert refusal(busy)[0] == "busy"
    assert busy.error is not None
    assert busy.error.retryable
    assert (await agent.ask("ping")).result["pong"]
    assert (await agent.ask("health")).result["healthy"]
    (folder / "gate").touch()
    assert [(await each).result for each in waiting] == ["waited", "waited"]
    assert (await agent.ask("echo")).status == "success"


async def test_a_paused_agent_refuses_its_own_commands_until_it_is_resumed(agent: RunningAgent) -> None:
    assert (await agent.ask("pause")).result == {"status": "paused"}
    await agent.reports("paused")
    response = await agent.ask("echo")
    assert refusal(response)[0] == "conflict"
    assert response.error is not None
    assert not response.error.retryable
    assert (await agent.ask("resume")).result == {"status": "running"}
    assert (await agent.ask("echo")).status == "success"
    await eventually(lambda: agent.statuses == ["starting", "running", "paused", "running"])


async def test_a_drain_that_is_meant_for_another_launch_is_refused(agent: RunningAgent) -> None:
    assert refusal(await agent.ask("drain", {"launch_id": "launch-before"}))[0] == "conflict"
    assert (await agent.ask("ping")).result["status"] == "running"
    assert (await agent.ask("drain", {"launch_id": "launch-0"})).result == {"drained": True}


async def test_drain_waits_for_running_commands_and_refuses_new_ones(agent: RunningAgent, folder: Path) -> None:
    waiting = asyncio.create_task(agent.ask("wait"))
    await eventually(lambda: any(report.load > 0 for report in agent.heartbeats))
    draining = asyncio.create_task(agent.ask("drain"))
    await agent.reports("draining")
    response = await agent.ask("echo")
    assert refusal(response)[0] == "unavailable"
    assert response.error is not None
    assert response.error.retryable
    assert refusal(await agent.ask("resume"))[0] == "conflict"
    assert not draining.done()
    (folder / "gate").touch()
    assert (await waiting).result == "waited"
    assert (await draining).result == {"drained": True}
    assert agent.process.poll() is None


async def test_config_is_read_replaced_and_kept_when_the_hook_refuses_it(agent: RunningAgent) -> None:
    assert (await agent.ask("config")).result == {"config": {"greeting": "hello"}}
    new = {"greeting": "good day", "volume": 3}
    assert (await agent.ask("config", {"config": new})).result == {"config": new}
    assert (await agent.ask("greeting")).result == ["good day", "worker", "worker_0", "launch-0"]
    assert refusal(await agent.ask("config", {"config": {}})) == ("internal", "ValueError: volume is missing")
    assert (await agent.ask("config")).result == {"config": new}


async def test_a_config_that_is_no_object_is_refused_with_the_field(agent: RunningAgent) -> None:
    code, message = refusal(await agent.ask("config", {"config": [1]}))
    assert code == "invalid_request"
    assert "params.config" in message


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("def check(): return True", {"healthy": True}),
        ("async def check(): return None", {"healthy": True}),
        ("def check(): return False", {"healthy": False}),
        ("async def check(): return {'queue': 3}", {"healthy": True, "detail": {"queue": 3}}),
        ("def check(): return {'healthy': False, 'queue': 9}", {"healthy": False, "detail": {"queue": 9}}),
        ("def check(): raise OSError('no disk')", {"healthy": False, "error": "OSError: no disk"}),
    ],
)
async def test_health_is_what_the_hook_says(
    nats: NatsHarness, folder: Path, function: str, expected: dict[str, object]
) -> None:
    async with running_agent(nats, folder, HEALTHY.format(function=function)) as agent:
        assert (await agent.ask("health")).result == expected


async def test_simultaneous_health_requests_share_one_check(nats: NatsHarness, folder: Path) -> None:
    function = """async def check():
    global calls
    calls += 1
    while not Path("gate").exists():
        await asyncio.sleep(0.01)"""
    async with running_agent(nats, folder, HEALTHY.format(function=function)) as agent:

        async def calls() -> int:
            result: int = (await asyncio.create_task(agent.ask("calls"))).result
            return result

        assert await calls() == 0
        waiting = [asyncio.create_task(agent.ask("health")) for _ in range(20)]
        # The agent takes its requests in order: when a later one is answered all of these have arrived.
        await eventually(calls)
        (folder / "gate").touch()
        assert [(await each).result for each in waiting] == [{"healthy": True}] * 20
        assert await calls() == 1


async def test_garbage_on_every_subject_leaves_the_agent_running(agent: RunningAgent, nats: NatsHarness) -> None:
    client = await nats.connect_as_manager()
    garbage = [
        b"\xff\xfe",
        b"null",
        b"1" * 5_000,
        b"[" * 200_000,
        b'{"command": ' + b'{"a":' * 50_000,
        json.dumps({"command": 1, "params": "x", "timestamp": [], "id": {}, "deadline": "soon"}).encode(),
        json.dumps({"command": "x" * 100_000, "params": {}, "timestamp": "now"}).encode(),
        b"\0" * (client.max_payload // 8),
    ]
    addressed = [
        subject
        for name in (agent.agent_id, agent.instance_id)
        for subject in (subjects.agent_command(name), subjects.agent_query(name))
    ]
    others = ["agent.worker_0.task", "agent.worker_0.a.b.c", "$SRV.PING", "$SRV.INFO.worker", "$SRV.STATS"]
    for subject in [*addressed, *others]:
        for data in garbage:
            await client.publish(subject, data)
            await client.publish(subject, data, reply="nobody.listens.here")
        for reply in (">", "a..b", "*.x", ".", "$SYS.REQ.SERVER.PING", subject):
            await client.publish(subject, envelope("ping"), reply=reply)
    await client.flush()
    assert (await agent.ask("echo", {"still": "here"})).result == {"still": "here"}
    assert agent.statuses == ["starting", "running"]
