"""Supervision of real processes."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.harness.agents import IGNORES_SIGTERM, PLAIN, SLEEPS, plain_python, sdk_agent
from tests.harness.node import Node, alive, kill, settle, write_package
from tests.harness.waiting import eventually

FAILS_WHEN_TOLD = """
import pathlib, sys, time
told = pathlib.Path({path!r})
while not told.exists():
    time.sleep(0.01)
told.unlink()
print('about to fail')
sys.exit(3)
"""


async def test_a_crash_loop_backs_off_and_ends_in_error_with_its_reason(node: Node) -> None:
    await node.up()
    seen: list[str] = []
    # One that ends before its start is told is never seen running.
    may_fail = node.data_dir.parent / "may-fail"
    async with node.bus() as bus:
        feed = await bus.subscribe("agent.event.faulty.*")
        await settle(bus)
        plain_python(
            node.packages,
            "faulty",
            FAILS_WHEN_TOLD.format(path=str(may_fail)),
            extra="restart: {max_restarts: 4, backoff_initial_s: 0.05}\n",
        )
        while "error" not in seen:
            seen.append((await feed.next_msg(timeout=60.0)).subject.rsplit(".", 1)[1])
            if seen[-1] == "running":
                may_fail.touch()
    at_once = ["starting", "running", "exited"]
    assert seen == ["registered", *at_once, *at_once, *["backoff", *at_once] * 3, "error"]
    failed = await node.until("faulty", "error")
    assert failed["restarts"] == 4
    assert "exited with code 3" in failed["reason"]
    assert "max_restarts=4" in failed["reason"]
    assert failed["last_exit"]["code"] == 3

    async def last_lines() -> object:
        return (await node.instance("faulty"))["last_exit"]["last_lines"]

    await eventually(last_lines)
    assert await last_lines() == {"out": ["about to fail"], "err": []}
    assert failed["pid"] is None
    assert (await node.agent("faulty"))["availability"] == "error"
    logs = await node.get("/agents/faulty/logs", tail=10)
    assert logs["streams"][0]["lines"][-1] == "about to fail"


async def test_exit_0_under_on_failure_stays_stopped(node: Node) -> None:
    plain_python(node.packages, "once", "print('done')\n", extra="restart: {policy: on-failure}\n")
    await node.up()
    ended = await node.until("once", "stopped")
    assert ended["restarts"] == 0
    assert ended["last_exit"]["code"] == 0
    assert ended["last_exit"]["reason"] == "completed"
    assert (await node.agent("once"))["lifecycle"] == "active"


async def test_a_stopped_process_becomes_inactive_and_the_watchdog_brings_it_back(node: Node) -> None:
    await node.up()
    seen: list[str] = []
    async with node.bus() as bus:
        # Events are published after what they tell of: whoever listens later still hears earlier ones.
        feed = await bus.subscribe("agent.event.sleeper.*")
        await settle(bus)
        sdk_agent(node.packages, "sleeper", extra="heartbeat: {interval_s: 0.5, timeout_s: 2}\n")
        before = await node.until("sleeper", "running")
        os.kill(before["pid"], signal.SIGSTOP)
        while seen.count("running") < 2:
            seen.append((await feed.next_msg(timeout=60.0)).subject.rsplit(".", 1)[1])
    after = await node.until("sleeper", "running", not_pid=before["pid"])
    up = ["starting", "running"]
    assert [s for s in seen if s != "exited"] == ["registered", *up, "inactive", "stopping", *up]
    assert after["last_exit"]["reason"] == "watchdog"
    assert not alive(before["pid"])


async def test_on_inactive_mark_only_says_so(node: Node) -> None:
    sdk_agent(node.packages, "quiet", extra="heartbeat: {interval_s: 0.5, timeout_s: 2, on_inactive: mark}\n")
    await node.up()
    before = await node.until("quiet", "running")
    os.kill(before["pid"], signal.SIGSTOP)
    inactive = await node.until("quiet", "inactive")
    assert inactive["pid"] == before["pid"]
    os.kill(before["pid"], signal.SIGCONT)
    assert (await node.until("quiet", "running"))["pid"] == before["pid"]


async def test_one_that_ignores_sigterm_is_killed_on_time_while_another_stops_at_once(node: Node) -> None:
    plain_python(node.packages, "stubborn", IGNORES_SIGTERM, extra="stop: {timeout_s: 3}\n")
    plain_python(node.packages, "obedient", SLEEPS)
    await node.up()
    stubborn = await node.until("stubborn", "running")
    obedient = await node.until("obedient", "running")

    async def is_stubborn() -> bool:
        streams = (await node.get("/agents/stubborn/logs"))["streams"]
        return any("ready to be stubborn" in stream["lines"] for stream in streams)

    await eventually(is_stubborn)
    assert (await node.post("/agents/stubborn/stop")).status_code == 202
    assert (await node.post("/agents/obedient/stop", wait=30)).status_code == 200
    assert not alive(obedient["pid"])
    # The slow one is still on its ladder: it has delayed nobody.
    assert (await node.instance("stubborn"))["status"] == "stopping"
    killed = await node.until("stubborn", "stopped")
    assert killed["last_exit"]["signal"] == signal.SIGKILL
    assert killed["last_exit"]["reason"] == "requested"
    assert not alive(stubborn["pid"])


async def test_a_stop_ends_the_whole_tree(node: Node) -> None:
    code = (
        "import subprocess, threading\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "aloof = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print(child.pid, aloof.pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    plain_python(node.packages, "family", code)
    await node.up()
    await node.until("family", "running")

    async def children() -> list[int]:
        streams = (await node.get("/agents/family/logs"))["streams"]
        lines = [line for stream in streams for line in stream["lines"]]
        return [int(pid) for pid in lines[-1].split()] if lines else []

    pids = await eventually(children)
    assert len(pids) == 2
    assert (await node.post("/agents/family/stop", wait=30)).status_code == 200
    assert not any(alive(pid) for pid in pids)


async def test_a_crash_leaves_no_grandchild_behind(node: Node) -> None:
    code = (
        "import subprocess, threading\n"
        "print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    plain_python(node.packages, "parent", code)
    await node.up()
    before = await node.until("parent", "running")
    log = node.data_dir / "logs" / "agents" / "parent_0.out.log"
    child = int(await eventually(lambda: log.exists() and log.read_text().strip()))
    kill(before["pid"])
    await node.until("parent", "running", not_pid=before["pid"])
    assert not alive(child)


async def test_200_mb_of_output_never_blocks_and_stay_within_their_files(node: Node) -> None:
    code = (
        "import sys, threading\n"
        "block = b'x' * 99_999 + b'\\n'\n"
        "for _ in range(2000):\n"
        "    sys.stdout.buffer.write(block)\n"
        "sys.stdout.buffer.flush()\n"
        "print('all written', file=sys.stderr, flush=True)\n"
        "threading.Event().wait()\n"
    )
    plain_python(node.packages, "chatty", code, extra="logs: {max_bytes: 1000000, files: 3}\n")
    await node.up()
    chatty = await node.until("chatty", "running")
    logs = node.data_dir / "logs" / "agents"
    await eventually(lambda: (logs / "chatty_0.err.log").exists() and (logs / "chatty_0.err.log").read_text(), 60.0)
    assert "all written" in (logs / "chatty_0.err.log").read_text()
    files = sorted(path.name for path in logs.glob("chatty_0.out.log*"))
    assert files == ["chatty_0.out.log", "chatty_0.out.log.1", "chatty_0.out.log.2"]
    assert all(path.stat().st_size <= 1_000_000 for path in logs.glob("chatty_0.out.log*"))
    assert (await node.instance("chatty"))["pid"] == chatty["pid"]


async def test_fifty_agents_start_together(node: Node) -> None:
    for number in range(50):
        sdk_agent(node.packages, f"agent-{number:02}")
    await node.up()
    for number in range(50):
        instance = await node.until(f"agent-{number:02}", "running")
        assert instance["restarts"] == 0
        assert instance["last_exit"] is None
    first = await node.get("/agents", page_size=30)
    second = await node.get("/agents", page_size=30, page_token=first["next_page_token"])
    ids = [agent["id"] for page in (first, second) for agent in page["items"]]
    assert ids == [f"agent-{number:02}" for number in range(50)]
    assert second["next_page_token"] is None


async def test_a_restart_of_several_instances_is_rolling(node: Node) -> None:
    await node.up()
    async with node.bus() as bus:
        feed = await bus.subscribe("agent.event.pool.*")
        await settle(bus)
        sdk_agent(node.packages, "pool", extra="replicas: 3\n")
        before = [(await node.until("pool", "running", ordinal=ordinal))["pid"] for ordinal in range(3)]
        # Events are published after what they tell of: the first starts may still be on their way.
        started = 0
        while started < 3:
            started += (await feed.next_msg(timeout=60.0)).subject.endswith(".running")
        answer = await node.post("/agents/pool/restart", wait=60)
        assert answer.status_code == 200, answer.text
        out: set[str] = set()
        restarted: list[str] = []
        while len(restarted) < 3:
            event = json.loads((await feed.next_msg(timeout=60.0)).data)
            if event["type"] == "running":
                out.remove(event["instance_id"])
                restarted.append(event["instance_id"])
            elif event["type"] != "restart_requested":
                out.add(event["instance_id"])
            assert len(out) <= 1, f"not running at the same time: {out}"
    assert set(restarted) == {f"pool_{ordinal}" for ordinal in range(3)}
    after = [instance["pid"] for instance in answer.json()["agent"]["instances"]]
    assert len(after) == 3
    assert not set(before) & set(after)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ("command: ['no-such-program-anywhere']", "no-such-program-anywhere"),
        ("command: ['sh', '-c', 'kill -SEGV $$']", "killed by signal 11"),
    ],
)
async def test_what_cannot_run_ends_in_error_and_says_why(node: Node, manifest: str, expected: str) -> None:
    write_package(node.packages, "hopeless", f"version: 1.0.0\n{manifest}\n{PLAIN}restart: {{max_restarts: 1}}\n")
    await node.up()
    failed = await node.until("hopeless", "error")
    assert expected in failed["reason"]
