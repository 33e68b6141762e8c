"""How agentctl finds the API, and what it says when there is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from agent_manager.protocol.resources import AgentList
from tests.harness.agentctl_program import Agentctl, Run
from tests.harness.fake_manager import FakeManager, agent
from tests.harness.live_api import LiveApi

NOBODY = "http://127.0.0.1:1"


def write_up_file(directory: Path, text: str) -> None:
    """Leave what a running node leaves."""
    directory.mkdir()
    (directory / "up.json").write_text(text)


def assert_readable(run: Run) -> None:
    """Errors are a line or two for people."""
    assert run.err.startswith("agentctl: ")
    assert "Traceback" not in run.err
    assert run.err.count("\n") <= 2


async def test_the_api_is_named_by_option_variable_or_the_nodes_file(
    lost_agentctl: Agentctl, manager: FakeManager, api: LiveApi, tmp_path: Path
) -> None:
    write_up_file(tmp_path / ".agent-manager", json.dumps({"api_url": api.url}))
    write_up_file(tmp_path / "other", json.dumps({"api_url": NOBODY}))
    other = str(tmp_path / "other")
    assert (await lost_agentctl("ls")).exit_code == 0
    assert (await lost_agentctl("--data-dir", other, "ls")).exit_code == 5
    assert (await lost_agentctl("ls", AGENT_MANAGER_DATA_DIR=other)).exit_code == 5
    assert (await lost_agentctl("ls", AGENT_MANAGER_DATA_DIR=other, AGENT_MANAGER_API_URL=api.url)).exit_code == 0
    assert (await lost_agentctl("--api-url", NOBODY, "ls", AGENT_MANAGER_API_URL=api.url)).exit_code == 5


async def test_a_data_directory_that_was_named_is_not_replaced_by_a_guess(
    lost_agentctl: Agentctl, manager: FakeManager, api: LiveApi, tmp_path: Path
) -> None:
    write_up_file(tmp_path / ".agent-manager", json.dumps({"api_url": api.url}))
    run = await lost_agentctl("--data-dir", str(tmp_path / "nobody"), "ls")
    assert run.exit_code == 5
    assert_readable(run)
    assert "no node runs on" in run.err


async def test_no_api_says_what_to_do(lost_agentctl: Agentctl) -> None:
    for command in (("ls",), ("events",), ("start", "echo")):
        run = await lost_agentctl("--api-url", NOBODY, *command)
        assert run.exit_code == 5
        assert_readable(run)
        assert f"the API at {NOBODY} cannot be reached" in run.err
        assert "is `agent-manager up` running?" in run.err


async def test_no_manager_is_as_good_as_no_api(agentctl: Agentctl) -> None:
    run = await agentctl("ls")
    assert run.exit_code == 5
    assert_readable(run)
    assert "no manager is running" in run.err


async def test_a_question_waits_for_the_next_manager_and_a_change_is_not_sent_twice(
    agentctl: Agentctl, manager: FakeManager
) -> None:
    away = ErrorBody(code=ErrorCode.UNAVAILABLE, message="no manager is running", retryable=True)
    answers = iter([away, away, AgentList(items=[agent()])])
    manager.answer_with(operations.AGENTS_LIST, lambda _: next(answers))
    run = await agentctl("ls")
    assert (run.exit_code, run.err) == (0, "")
    assert run.rows[1][0] == "echo"
    manager.refuse(operations.AGENTS_RESTART, away)
    assert (await agentctl("restart", "echo")).exit_code == 5
    assert [received.operation for received in manager.received] == [
        *[operations.AGENTS_LIST.name] * 3,
        operations.AGENTS_RESTART.name,
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"api_url": 7}'])
async def test_a_nodes_file_that_cannot_be_used_is_named(lost_agentctl: Agentctl, tmp_path: Path, text: str) -> None:
    write_up_file(tmp_path / ".agent-manager", text)
    run = await lost_agentctl("ls")
    assert run.exit_code == 1
    assert_readable(run)
    assert ".agent-manager/up.json does not say where the API is" in run.err


async def test_what_is_no_url_is_wrong_usage(lost_agentctl: Agentctl) -> None:
    for url in ("localhost:8000", "ftp://localhost", "http://localhost:port", "http://a..b", "http://"):
        run = await lost_agentctl("--api-url", url, "ls")
        assert run.exit_code == 2, url
        assert_readable(run)


@asynccontextmanager
async def stranger(answer: bytes) -> AsyncIterator[str]:
    """A server that answers everything with the same bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_something_else_at_the_address_is_recognised(lost_agentctl: Agentctl) -> None:
    for status in (b"200 OK", b"404 Not Found"):
        answer = b"HTTP/1.1 " + status + b"\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>"
        async with stranger(answer) as url:
            run = await lost_agentctl("--api-url", url, "ls")
        assert run.exit_code == 5
        assert_readable(run)
        assert "is not the management API" in run.err


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'INFO {"server_id": "N"}\r\n',
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["nothing", "nats", "ssh", "tls", "half an answer"],
)
async def test_what_gives_no_http_answer_is_told(lost_agentctl: Agentctl, answer: bytes) -> None:
    async with stranger(answer) as url:
        run = await lost_agentctl("--api-url", url, "ls")
    assert run.exit_code == 5
    assert_readable(run)
    assert "gave no HTTP answer" in run.err
    assert "https://" in run.err


async def test_https_to_a_port_without_tls_says_so(agentctl: Agentctl, api: LiveApi) -> None:
    run = await agentctl("--api-url", api.url.replace("http:", "https:"), "ls")
    assert run.exit_code == 5
    assert_readable(run)
    assert "write http:// in --api-url" in run.err


async def test_a_node_that_runs_without_an_api_is_told_from_none(lost_agentctl: Agentctl, tmp_path: Path) -> None:
    write_up_file(tmp_path / ".agent-manager", json.dumps({"nats_url": "nats://bus:4222", "pids": {}}))
    run = await lost_agentctl("ls")
    assert run.exit_code == 5
    assert_readable(run)
    assert "start `management-api` on its NATS server nats://bus:4222" in run.err


async def test_json_of_another_shape_is_not_taken_for_agents(lost_agentctl: Agentctl) -> None:
    async with stranger(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as url:
        run = await lost_agentctl("--api-url", url, "ls")
    assert run.exit_code == 1
    assert_readable(run)
