"""From a folder to a running, commanded, restarted agent: what a newcomer does, in order."""

from __future__ import annotations

import os

from tests.harness.node import Node, alive, kill
from tests.harness.postgres import ON_BOTH_DATABASES
from tests.harness.waiting import eventually


@ON_BOTH_DATABASES
async def test_a_newcomer_sees_the_agents_run_commands_them_and_leaves_nothing_behind(shipped_node: Node) -> None:
    node = shipped_node
    await node.up()

    echo = await node.until("echo", "running")
    clock = await node.until("clock", "running")
    listed = await node.get("/agents")
    assert [agent["id"] for agent in listed["items"]] == ["clock", "echo"]

    kill(echo["pid"])
    after_kill = await node.until("echo", "running", not_pid=echo["pid"])
    assert after_kill["restarts"] == 1
    assert after_kill["last_exit"]["signal"] == 9
    assert after_kill["last_exit"]["reason"] == "crash"

    async with node.bus() as bus:
        response = await node.command(bus, "restart", "echo")
    assert response["status"] == "success"
    assert response["command"] == "restart"
    assert response["agent_id"] == "echo"
    assert response["result"]["agent"]["id"] == "echo"
    assert response["timestamp"]
    assert response["error"] is None
    restarted = await node.until("echo", "running", not_pid=after_kill["pid"])
    assert restarted["last_exit"]["reason"] == "requested"

    manager = node.pid("manager")
    kill(manager)
    await node.replaced("manager", manager)
    assert (await node.until("echo", "running"))["pid"] == restarted["pid"]
    assert (await node.until("clock", "running"))["pid"] == clock["pid"]

    everything = node.processes()
    assert {p.pid for p in everything} >= {restarted["pid"], clock["pid"], node.pid("nats"), node.pid("api")}
    assert await node.stop() == 0
    assert node.processes() == []
    assert not any(alive(pid) for pid in (restarted["pid"], clock["pid"]))
    assert not (node.data_dir / "up.json").exists()


async def test_the_terminal_says_where_everything_is_and_then_a_line_per_event(shipped_node: Node) -> None:
    node = shipped_node
    await node.up()
    await node.until("echo", "running")
    state = node.state
    await eventually(lambda: "echo_0" in node.console() and "running" in node.console())
    said = node.console()
    for expected in (
        state["api_url"],
        state["nats_url"],
        state["nats_creds"],
        str(node.data_dir),
        str(node.data_dir / "logs"),
        "agentctl",
        "curl -s",
    ):
        assert expected in said
    assert oct(os.stat(node.data_dir / "up.json").st_mode & 0o777) == "0o600"
    assert set(state) == {
        "api_url",
        "nats_url",
        "nats_creds",
        "metrics_url",
        "pids",
        "reloads",
        "reloads_refused",
        "cgroups",
        "reload_refused",
    }
    assert set(state["pids"]) == {"launcher", "manager", "api", "nats"}
    await node.stop()
    assert "stopped" in node.console()


async def test_a_second_node_on_the_same_data_is_refused_and_disturbs_nothing(shipped_node: Node) -> None:
    node = shipped_node
    await node.up()
    echo = await node.until("echo", "running")
    second = Node(data_dir=node.data_dir, packages=node.packages)
    try:
        await second.up()
    except AssertionError as error:
        assert "already running" in str(error)  # noqa: PT017 - the harness raises it
    else:
        raise AssertionError("two nodes run on one data directory")
    await second.http.aclose()
    assert (await node.until("echo", "running"))["pid"] == echo["pid"]


@ON_BOTH_DATABASES
async def test_a_stopped_agent_stays_stopped_over_a_restart_of_the_node(shipped_node: Node) -> None:
    node = shipped_node
    await node.up()
    await node.until("echo", "running")
    answer = await node.post("/agents/echo/stop", wait=30)
    assert answer.status_code == 200
    assert answer.json()["agent"]["lifecycle"] == "ready"
    await node.stop()
    await node.up()
    await node.until("clock", "running")
    assert (await node.agent("echo"))["lifecycle"] == "ready"
    assert (await node.instance("echo")).get("pid") is None
    answer = await node.post("/agents/echo/start", wait=30)
    assert answer.status_code == 200
    assert answer.json()["done"] is True
    assert answer.json()["agent"]["instances"][0]["status"] == "running"
