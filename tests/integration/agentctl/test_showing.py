"""What agentctl shows, for people and for programs."""

from __future__ import annotations

import pytest
import yaml

from agent_manager.protocol import operations
from agent_manager.protocol.messages import Request
from agent_manager.protocol.release import release
from agent_manager.protocol.resources import (
    AgentList,
    ChangeResult,
    FaultView,
    LastLinesView,
    LogsResult,
    LogStream,
    PackageList,
)
from tests.harness.agentctl_program import Agentctl
from tests.harness.fake_manager import FakeManager, agent, crashed, instance, packages
from tests.harness.live_api import LiveApi

LONG_ID = "an-agent-whose-name-is-as-long-as-they-are-allowed-to-be-"[:56]


async def test_ls_prints_a_line_for_each_agent_with_nothing_cut(agentctl: Agentctl, manager: FakeManager) -> None:
    pair = agent(LONG_ID, replicas=2, instances=[instance(f"{LONG_ID}_0"), crashed(f"{LONG_ID}_1")])
    off = agent("off", lifecycle="ready", availability="offline", instances=[])
    manager.answer(operations.AGENTS_LIST, AgentList(items=[pair, off]))
    run = await agentctl("ls")
    assert run.exit_code == 0
    header, first, second = run.rows
    assert header == ["ID", "LIFECYCLE", "AVAILABILITY", "RUNNING", "RESTARTS", "PID", "UPTIME", "VERSION"]
    # Whether one that does not run starts again by itself (backoff) or has been given up (error).
    assert first[:7] == [LONG_ID, "active", "active", "1/2", "error", "10", "1234"]
    assert second == ["off", "ready", "offline", "0/1", "0", "-", "-", "1.0.0"]
    assert "\x1b" not in run.out


async def test_an_agent_whose_folder_is_gone_is_marked(agentctl: Agentctl, manager: FakeManager) -> None:
    gone = agent("gone", available=False)
    manager.answer(operations.AGENTS_LIST, AgentList(items=[gone, agent("there")]))
    manager.answer(operations.AGENTS_GET, gone)
    _, first, second = (await agentctl("ls")).rows
    assert first[-3:] == ["1.0.0", "(folder", "gone)"]
    assert second[-1] == "1.0.0"
    assert "(its folder is gone)" in (await agentctl("show", "gone")).out


async def test_what_is_wrong_with_the_package_of_an_agent_is_told_with_it(
    agentctl: Agentctl, manager: FakeManager
) -> None:
    fault = FaultView(file="echo/agent.yaml", line=7, message="x is not a known key")
    broken = agent("echo", faults=[fault])
    manager.answer(operations.AGENTS_GET, broken)
    manager.answer(operations.AGENTS_RESTART, ChangeResult(agent=broken, done=True))
    shown = (await agentctl("show", "echo")).out
    assert "echo cannot be taken as it is now:\n  echo/agent.yaml:7: x is not a known key\n" in shown
    assert "its package cannot be taken as it is now" in (await agentctl("restart", "echo")).out


async def test_ls_fetches_every_page(agentctl: Agentctl, manager: FakeManager) -> None:
    def page(request: Request) -> AgentList:
        if request.params.get("page_token") == "a":
            return AgentList(items=[agent("b")])
        return AgentList(items=[agent("a")], next_page_token="a")

    manager.answer_with(operations.AGENTS_LIST, page)
    assert [row[0] for row in (await agentctl("ls")).rows] == ["ID", "a", "b"]
    run = await agentctl("ls", "--json")
    assert run.json == AgentList(items=[agent("a"), agent("b")]).model_dump(mode="json")


async def test_ls_without_agents_says_how_to_get_one(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_LIST, AgentList(items=[]))
    run = await agentctl("ls")
    assert (run.exit_code, run.out) == (0, "")
    assert "agent_packages" in run.err


async def test_json_is_exactly_the_apis(agentctl: Agentctl, manager: FakeManager, api: LiveApi) -> None:
    for arguments, path in (
        (("ls",), "agents"),
        (("show", "echo"), "agents/echo"),
        (("logs", "echo"), "agents/echo/logs"),
        (("packages",), "packages"),
        (("nodes",), "nodes"),
    ):
        run = await agentctl(*arguments, "--json")
        assert (run.exit_code, run.err) == (0, "")
        assert run.json == (await api.http.get(f"/api/v1/{path}")).json()


async def test_many_processes_and_odd_names_stay_on_a_line(agentctl: Agentctl, manager: FakeManager) -> None:
    instances = [instance(f"echo_{number}", pid=100 + number) for number in range(200)]
    manager.answer(operations.AGENTS_LIST, AgentList(items=[agent(replicas=200, instances=instances)]))
    assert "100, 101, 102, 103, … 200 in all" in (await agentctl("ls")).out
    fault = FaultView(file="new\nline/agent.yaml", message="is empty")
    odd = packages().items[1].model_copy(update={"name": "new\nline", "faults": [fault]})
    manager.answer(operations.PACKAGES_LIST, PackageList(items=[odd]))
    run = await agentctl("packages")
    shown = "new\N{REPLACEMENT CHARACTER}line"
    assert [row[0] for row in run.rows if row] == ["PACKAGE", shown, shown, f"{shown}/agent.yaml:"]


async def test_show_tells_of_the_agent_and_its_instances(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_GET, agent(instances=[crashed()], availability="error"))
    run = await agentctl("show", "echo")
    assert run.exit_code == 0
    assert ["availability", "error"] in run.rows
    assert ["config", '{"greeting":', '"hello"}'] in run.rows
    assert "10 restarts in 60 s" in run.out
    assert "echo_0 last ended 2026-01-02 03:04:05: crash (exited with code 3; 0.0 s of CPU, 0 MB at most)" in run.out


@pytest.mark.parametrize(
    ("last_lines", "shown"),
    [
        (None, ""),
        (LastLinesView(out=[], err=[]), ""),
        (LastLinesView(out=["one", "two \x1b[2J"], err=[]), "  out  one\n  out  two \N{REPLACEMENT CHARACTER}[2J\n"),
        (
            LastLinesView(out=["one"], err=["Traceback", "", "  File"]),
            "  out  one\n  err  Traceback\n  err  \n  err    File\n",
        ),
    ],
)
async def test_show_says_what_an_instance_had_to_say_at_its_end(
    agentctl: Agentctl, manager: FakeManager, last_lines: LastLinesView | None, shown: str
) -> None:
    manager.answer(operations.AGENTS_GET, agent(instances=[crashed(last_lines=last_lines)], availability="error"))
    run = await agentctl("show", "echo")
    assert run.out.endswith("(exited with code 3; 0.0 s of CPU, 0 MB at most)\n" + shown)


async def test_what_others_wrote_is_shown_and_never_interpreted(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_GET, agent(description="[red]x[/red] \x1b[2J"))
    run = await agentctl("show", "echo")
    assert "[red]x[/red] \N{REPLACEMENT CHARACTER}[2J" in run.out


async def test_colours_are_for_those_who_ask(agentctl: Agentctl, manager: FakeManager) -> None:
    assert "\x1b[32mactive" in (await agentctl("ls", FORCE_COLOR="1", TERM="xterm")).out
    assert "\x1b[32m" not in (await agentctl("ls", FORCE_COLOR="1", TERM="xterm", NO_COLOR="1")).out


async def test_logs_of_one_stream_have_no_heading(agentctl: Agentctl, manager: FakeManager) -> None:
    run = await agentctl("logs", "echo", "-n", "5")
    assert (run.exit_code, run.out) == (0, "one\ntwo\n")
    assert manager.received[0].request.params == {"tail": 5}


async def test_logs_of_several_streams_say_which_is_which(agentctl: Agentctl, manager: FakeManager) -> None:
    streams = [
        LogStream(instance_id=f"echo_{n}", stream=stream, path="/x", lines=lines, end_offset=0)
        for n, stream, lines in ((0, "out", ["a"]), (0, "err", []), (1, "err", ["b", "c"]))
    ]
    manager.answer(operations.AGENTS_LOGS, LogsResult(agent_id="echo", streams=streams))
    run = await agentctl("logs", "echo")
    assert run.out == "==> echo_0 out <==\na\n\n==> echo_1 err <==\nb\nc\n"


async def test_packages_shows_what_is_wrong_below_the_table(agentctl: Agentctl, manager: FakeManager) -> None:
    run = await agentctl("packages")
    assert run.exit_code == 0
    assert [row[:2] for row in run.rows[:3]] == [["PACKAGE", "STATUS"], ["echo", "available"], ["broken", "invalid"]]
    assert "  agent.yaml:3: is too small\n" in run.out


async def test_nodes_prints_a_line_for_each_node(agentctl: Agentctl, manager: FakeManager) -> None:
    run = await agentctl("nodes")
    assert run.rows[1][:5] == ["node-1", "host-1", "1", "1", "running"]


async def test_status_is_the_short_form(agentctl: Agentctl, manager: FakeManager) -> None:
    run = await agentctl("status", "echo")
    assert run.out.startswith("echo: lifecycle active, availability active, health unknown\n")
    assert run.rows[-1][:3] == ["echo_0", "running", "1234"]


@pytest.mark.parametrize(
    ("command", "path", "name"),
    [("ls", "agents", "echo"), ("nodes", "nodes", "node-1"), ("packages", "packages", "echo")],
)
async def test_forms_of_an_answer(
    agentctl: Agentctl, manager: FakeManager, api: LiveApi, command: str, path: str, name: str
) -> None:
    document = (await api.http.get(f"/api/v1/{path}")).json()
    assert yaml.safe_load((await agentctl(command, "-o", "yaml")).out) == document
    assert (await agentctl(command, "-o", "name")).out.splitlines()[0] == name
    wide, table = (await agentctl(command, "-o", "wide")).rows[0], (await agentctl(command)).rows[0]
    assert wide[: len(table)] == table
    assert len(wide) > len(table)


async def test_two_forms_at_once_are_wrong_usage(agentctl: Agentctl) -> None:
    contradiction = await agentctl("ls", "--json", "-o", "yaml")
    assert contradiction.exit_code == 2
    assert "contradict each other" in contradiction.err


async def test_version_and_exit_codes_are_told(lost_agentctl: Agentctl) -> None:
    assert (await lost_agentctl("--version")).out == f"agentctl {release()}\n"
    help_ = await lost_agentctl("--help")
    assert help_.exit_code == 0
    assert "  6  accepted, but not done within the wait" in help_.out
