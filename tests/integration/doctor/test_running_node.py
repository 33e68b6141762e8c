"""The doctor looks at a node that runs: agents and parts of it that do not."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent_manager.adapters.nats.embedded import free_port
from agent_manager.doctor import api
from agent_manager.doctor.examination import examine
from agent_manager.doctor.findings import Finding, Severity
from tests.harness.agents import PLAIN, SLEEPS, plain_python
from tests.harness.node import Node, kill, node_under_test, write_package
from tests.harness.waiting import eventually, wait_until
from tests.harness.wheels import requirements

FAILS = "import sys\nsys.exit(3)\n"
SILENT = "heartbeat: {interval_s: 0.2, timeout_s: 0.5, on_inactive: mark}\nreadiness: {mode: immediate}\n"


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """A node without packages, in the present directory; the test brings it up."""
    monkeypatch.chdir(tmp_path)
    async with node_under_test(tmp_path) as node:
        yield node


async def faults(node: Node) -> list[Finding]:
    found = [finding async for finding in examine({}, flags=[("--data-dir", "data_dir", node.data_dir)])]
    return [finding for finding in found if finding.severity is Severity.FAULT]


@pytest.mark.parametrize(
    ("cgroups", "said"),
    [
        (["cpu", "memory", "pids"], {"process trees": Severity.OK}),
        (["cpu"], {"process trees": Severity.OK, "limits": Severity.WARNING}),
        (None, {"process trees": Severity.WARNING, "limits": Severity.WARNING}),
    ],
)
async def test_what_the_launcher_says_of_cgroups_counts(
    node: Node, cgroups: list[str] | None, said: dict[str, Severity]
) -> None:
    await node.up()
    assert "cgroups" in node.state
    (node.data_dir / "up.json").write_text(json.dumps(node.state | {"cgroups": cgroups}))
    found = [finding async for finding in examine({}, flags=[("--data-dir", "data_dir", node.data_dir)])]
    assert {each.subject: each.severity for each in found if each.subject in ("process trees", "limits")} == said
    (limits,) = [each.message for each in found if each.subject == "limits"] or [""]
    assert ("`memory_mb`" in limits, "`cpu`" in limits) == ("limits" in said, cgroups is None)


async def test_agents_that_are_not_well_are_named_with_the_reason_and_what_to_do(node: Node) -> None:
    plain_python(node.packages, "steady", SLEEPS)
    plain_python(node.packages, "given-up", FAILS, extra="restart: {policy: never}\n")
    plain_python(node.packages, "looping", FAILS, extra="restart: {backoff_initial_s: 1000, backoff_max_s: 1000}\n")
    write_package(node.packages, "nothing", f"version: 1.0.0\ncommand: [/nowhere]\n{PLAIN}restart: {{policy: never}}\n")
    write_package(node.packages, "silent", f"version: 1.0.0\nentrypoint: agent.py\n{SILENT}", SLEEPS)
    await node.up()
    expected = {
        "steady": "running",
        "given-up": "error",
        "looping": "backoff",
        "nothing": "error",
        "silent": "inactive",
    }
    for agent_id, status in expected.items():
        await node.until(agent_id, status)
    found = {finding.subject: finding for finding in await faults(node)}
    assert set(found) == {"agent given-up", "agent looping", "agent nothing", "agent silent"}
    said = {subject: finding.message for subject, finding in found.items()}
    assert said["agent given-up"] == "given-up_0 is error: exited with code 3; restart policy is never"
    assert said["agent looping"].startswith("looping_0 is backoff: exited with code 3; restart in ")
    assert "nothing_0 is error: could not be started: " in said["agent nothing"]
    assert "/nowhere" in said["agent nothing"]
    assert said["agent silent"].startswith("silent_0 is inactive: no heartbeat for 0.5 s")
    for subject, finding in found.items():
        agent_id = subject.removeprefix("agent ")
        commands = [f"agentctl {verb} {agent_id}" for verb in ("show", "logs", "restart")]
        assert [command for command in commands if f"`{command}`" not in (finding.remedy or "")] == []


async def test_a_package_whose_environment_could_not_be_made_is_named_with_the_reason_and_what_to_do(
    node: Node, tmp_path: Path
) -> None:
    folder = plain_python(node.packages, "wishful", SLEEPS)
    wheels = tmp_path / "no-wheels"
    wheels.mkdir()
    (folder / "requirements.txt").write_text(requirements(wheels, "friendly==2.0"), encoding="utf-8")
    await node.up()

    async def has_failed() -> bool:
        return [each["status"] for each in (await node.get("/packages"))["items"]] == ["failed"]

    await eventually(has_failed, 60.0)
    (found,) = await faults(node)
    assert found.subject == "package wishful"
    assert "its environment could not be made" in found.message
    assert "friendly==2.0" in found.message
    remedy = found.remedy or ""
    assert "`agentctl package retry wishful`" in remedy
    assert str(node.data_dir / "logs" / "environments" / "wishful.log") in remedy
    assert str(folder / "requirements.txt") in remedy


async def test_a_node_is_looked_at_with_what_it_was_started_with(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.packages = node.packages.rename(tmp_path / "elsewhere")
    write_package(node.packages, "broken", "version: '1'\nentrypoint: agent.py\nreplicas: many\n")
    (tmp_path / "database").mkdir()
    (tmp_path / ".env").write_text("DATABASE_URL=sqlite:///database/node.db\n", encoding="utf-8")
    await node.up()
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    found = [finding async for finding in examine({}, flags=[("--data-dir", "data_dir", node.data_dir)])]
    assert [each.subject for each in found if each.severity is Severity.FAULT] == ["package broken"]
    (database,) = [each for each in found if each.subject == "database"]
    assert database.message.startswith("database/node.db, schema ")
    assert Path.cwd() == tmp_path / "another"


async def test_a_database_that_is_gone_under_the_node_is_found(node: Node) -> None:
    await node.up()
    file = node.data_dir / "agent-manager.db"
    for left in file.parent.glob(f"{file.name}*"):
        left.unlink()
    (found,) = await faults(node)
    assert found.subject == "database"
    assert found.message == f"{file} is gone while the node runs: what is written is lost"
    assert (found.remedy or "").startswith("restart the node")
    assert not file.exists()


async def test_a_state_file_that_was_removed_may_be_what_is_missing_and_a_restart_mends_it(node: Node) -> None:
    async def told() -> Finding:
        found = [each async for each in examine({}, flags=[("--data-dir", "data_dir", node.data_dir)])]
        return next(each for each in found if each.subject == "node")

    await node.up()
    (node.data_dir / "up.json").unlink()
    before = await told()
    assert before.severity is Severity.WARNING
    assert f"{node.data_dir / 'up.json'} cannot be read" in before.message
    assert "the file was removed" in before.message
    assert "restart of the node" in (before.remedy or "")
    await node.stop()
    await node.up()
    assert (await told()).severity is Severity.OK


async def test_an_api_that_does_not_answer_is_found(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.up()
    assert await faults(node) == []
    monkeypatch.setattr(api, "API_TIMEOUT_S", 0.5)
    hanging = node.pid("api")
    os.kill(hanging, signal.SIGSTOP)
    try:
        (found,) = await faults(node)
    finally:
        os.kill(hanging, signal.SIGCONT)
    assert found.subject == "API"
    assert found.message == f"{node.state['api_url']} does not answer: no answer within 0.5 s"
    assert str(node.data_dir / "logs" / "services" / "api.log") in (found.remedy or "")


async def test_an_api_that_cannot_be_started_again_is_found_and_its_log_says_why(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "API_TIMEOUT_S", 0.5)
    port = free_port("127.0.0.1")
    await node.up("--port", str(port))
    log = node.data_dir / "logs" / "services" / "api.log"
    kill(node.pid("api"))
    with taken(port):
        await eventually(lambda: "address already in use" in log.read_text(encoding="utf-8"), 60.0)
        found = {finding.subject: finding for finding in await faults(node)}
    # The launcher tries again and again: whether there is a process at this moment is left to chance.
    assert {"API"} <= set(found) <= {"API", "node"}
    assert str(log) in (found["API"].remedy or "")
    assert "node" not in found or "not running at this moment: api" in found["node"].message


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Another program listens there and never answers, from the moment on when whoever was killed has let go of it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def bound() -> bool:
            with suppress(OSError):
                listener.bind(("127.0.0.1", port))
                return True
            return False

        # The next API takes much longer to load than this.
        wait_until(bound)
        listener.listen()
        yield
