"""The manager dies; no agent notices, and nothing that happened meanwhile is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from tests.harness.agents import IGNORES_SIGTERM, PLAIN, SLEEPS, plain_python, sdk_agent
from tests.harness.node import Node, alive, kill, write_package
from tests.harness.postgres import ON_BOTH_DATABASES
from tests.harness.waiting import eventually

WAITS_FOR_ITS_END = """
import os, sys, time
while not os.path.exists("end"):
    time.sleep(0.02)
os.remove("end")
sys.exit({code})
"""


async def instances(node: Node) -> dict[str, dict[str, Any]]:
    items = (await node.get("/agents", page_size=100))["items"]
    return {instance["id"]: instance for agent in items for instance in agent["instances"]}


async def replace_manager(node: Node) -> None:
    """Kill the manager and wait until the next one answers."""
    old = node.pid("manager")
    kill(old)
    await manager_answers(node, not_pid=old)


async def manager_answers(node: Node, *, not_pid: int) -> None:
    async def answers() -> bool:
        answer = await node.http.get(f"{node.state['api_url']}/api/v1/nodes")
        return answer.status_code == 200 and answer.json()["items"][0]["manager_pid"] != not_pid

    await eventually(answers, 60.0)


@ON_BOTH_DATABASES
async def test_twenty_agents_in_every_state_are_adopted_with_their_processes_and_exits(node: Node) -> None:
    for number in range(5):
        sdk_agent(node.packages, f"sdk-{number}")
    for number in range(5):
        plain_python(node.packages, f"plain-{number}", SLEEPS)
    for number in range(5):
        plain_python(
            node.packages,
            f"ends-{number}",
            WAITS_FOR_ITS_END.format(code=number),
            extra="restart: {policy: on-failure}\n",
        )
    plain_python(node.packages, "stopping", IGNORES_SIGTERM, extra="stop: {timeout_s: 20}\n")
    plain_python(node.packages, "given-up", "raise SystemExit(9)\n", extra="restart: {max_restarts: 0}\n")
    plain_python(
        node.packages,
        "in-backoff",
        "raise SystemExit(8)\n",
        extra="restart: {backoff_initial_s: 600, backoff_max_s: 600}\n",
    )
    plain_python(node.packages, "stopped", SLEEPS)
    silent = "readiness: {mode: heartbeat, timeout_s: 600}\n"
    write_package(node.packages, "starting", f"version: 1.0.0\nentrypoint: agent.py\n{silent}", SLEEPS)
    await node.up()
    for name in [f"{kind}-{number}" for kind in ("sdk", "plain", "ends") for number in range(5)]:
        await node.until(name, "running")
    await node.until("starting", "starting")
    await node.until("given-up", "error")
    await node.until("in-backoff", "backoff")
    await node.until("stopping", "running")
    await eventually((node.data_dir / "logs/agents/stopping_0.out.log").exists)
    await node.until("stopped", "running")
    await node.post("/agents/stopped/stop", wait=30)
    await node.post("/agents/stopping/stop")
    before = await instances(node)
    assert len(before) == 20

    old = node.pid("manager")
    # Stopped first, so that the exits below happen while no manager listens.
    os.kill(old, signal.SIGSTOP)
    for number in range(5):
        (node.packages / f"ends-{number}" / "end").write_text("")
    await eventually(lambda: not any(alive(before[f"ends-{n}_0"]["pid"]) for n in range(5)))
    kill(old)
    await manager_answers(node, not_pid=old)

    async def settled() -> bool:
        found = await instances(node)
        return all(found[f"ends-{n}_0"]["pid"] not in (None, before[f"ends-{n}_0"]["pid"]) for n in range(1, 5))

    await eventually(settled)
    after = await instances(node)
    untouched = [name for name in before if not name.startswith("ends-")]
    assert {name: after[name]["pid"] for name in untouched} == {name: before[name]["pid"] for name in untouched}
    assert {name: after[name]["status"] for name in untouched} == {name: before[name]["status"] for name in untouched}
    assert {name: after[name]["restarts"] for name in untouched} == {
        name: before[name]["restarts"] for name in untouched
    }
    assert [after[f"ends-{n}_0"]["last_exit"]["code"] for n in range(5)] == [0, 1, 2, 3, 4]
    assert after["ends-0_0"]["status"] == "stopped"
    # What was on its way down goes on being stopped, by the same ladder.
    killed = await node.until("stopping", "stopped")
    assert killed["last_exit"]["reason"] == "requested"
    assert await node.stop() == 0
    assert node.processes() == []


async def test_the_manager_killed_again_and_again_changes_nothing(node: Node) -> None:
    for number in range(3):
        sdk_agent(node.packages, f"steady-{number}")
    await node.up()
    pids = [(await node.until(f"steady-{number}", "running"))["pid"] for number in range(3)]
    for _ in range(5):
        await replace_manager(node)
        assert [(await node.until(f"steady-{number}", "running"))["pid"] for number in range(3)] == pids
    # The last one supervises like the first.
    kill(pids[0])
    again = await node.until("steady-0", "running", not_pid=pids[0])
    assert again["restarts"] == 1


async def test_a_manager_that_hangs_is_replaced(node: Node) -> None:
    sdk_agent(node.packages, "steady")
    await node.up()
    before = await node.until("steady", "running")
    old = node.pid("manager")
    os.kill(old, signal.SIGSTOP)
    await node.replaced("manager", old)
    assert not alive(old)
    assert (await node.until("steady", "running"))["pid"] == before["pid"]


@ON_BOTH_DATABASES
async def test_every_command_accepted_before_a_kill_is_carried_out_after_it(node: Node) -> None:
    for number in range(6):
        plain_python(node.packages, f"agent-{number}", SLEEPS)
    await node.up()
    for number in range(6):
        await node.until(f"agent-{number}", "running")
    answers = await asyncio.gather(*(node.post(f"/agents/agent-{number}/stop") for number in range(6)))
    kill(node.pid("manager"))
    assert all(answer.status_code in (200, 202) for answer in answers)
    for number in range(6):
        await node.until(f"agent-{number}", "stopped")


async def test_without_a_manager_the_api_says_so_at_once(node: Node) -> None:
    write_package(node.packages, "plain", f"version: 1.0.0\nentrypoint: agent.py\n{PLAIN}", SLEEPS)
    await node.up()
    await node.until("plain", "running")
    api = node.state["api_url"]
    # A launcher that is stopped does not start the next manager.
    os.kill(node.pid("launcher"), signal.SIGSTOP)
    kill(node.pid("manager"))

    async def refused() -> dict[str, Any]:
        answer = await node.http.get(f"{api}/api/v1/agents")
        problem: dict[str, Any] = answer.json()
        return problem if answer.status_code == 503 else {}

    problem = await eventually(refused)
    assert problem["code"] == "unavailable"
    assert problem["retryable"] is True
    os.kill(node.pid("launcher"), signal.SIGCONT)

    async def answered() -> bool:
        return (await node.http.get(f"{api}/api/v1/agents")).status_code == 200

    await eventually(answered)
