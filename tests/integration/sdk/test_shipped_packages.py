"""The packages shipped with the product, found and run as copies of their folders."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from agent_manager.adapters.packages.folder_source import FolderPackageSource
from agent_manager.adapters.packages.settling import Patience
from agent_manager.domain.specification import AgentSpec, ReadinessMode
from agent_manager.protocol import environment
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually
from tests.integration.sdk.running_agent import REPOSITORY, running_agent

PACKAGES = REPOSITORY / "agent_packages"
_COMMENTED_DEFAULT = re.compile(r"^# ((?: {2})?(?!command|model|name|env|  LANG)[a-z_]+:.*)$", re.MULTILINE)


async def specs_of(root: Path) -> dict[str, AgentSpec]:
    """The valid packages below `root` by name; an invalid one fails the test with what is wrong."""
    found = await FolderPackageSource(root, patience=Patience(quiet_s=0.0)).scan()
    assert [fault for package in found for fault in package.faults] == []
    return {package.name: package.spec for package in found if package.spec is not None}


async def test_the_shipped_packages_are_valid_and_the_template_is_none_of_them() -> None:
    assert {"clock", "echo"} == (await specs_of(PACKAGES)).keys()


async def test_echo_answers_what_it_is_asked(nats: NatsHarness, folder: Path) -> None:
    source = (PACKAGES / "echo/agent.py").read_text()
    async with running_agent(nats, folder, source) as agent:
        assert (await agent.ask("echo", {"a": [1, {"b": None}]})).result == {"a": [1, {"b": None}]}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A root with a copy of the template as the package `my_agent`."""
    shutil.copytree(PACKAGES / "_template", tmp_path / "root" / "my_agent")
    return tmp_path / "root"


async def test_a_copy_of_the_template_runs_with_its_own_manifest(
    nats: NatsHarness, folder: Path, template: Path
) -> None:
    spec = (await specs_of(template))["my_agent"]
    assert spec.entrypoint is not None
    source = (Path(spec.directory) / spec.entrypoint).read_text()
    variables = {environment.AGENT_CONFIG: json.dumps(dict(spec.config))}
    async with running_agent(nats, folder, source, variables=variables) as agent:
        assert (await agent.ask("greet", {"name": "Ada"})).result == {"text": "Hello, Ada!"}
        assert (await agent.ask("shout", {"text": "hey"})).result == {"text": "HEY"}
        assert (await agent.ask("health")).result == {"healthy": True, "detail": {"greeting": "Hello"}}
        refused = await agent.ask("config", {"config": {"greeting": 5}})
        assert refused.error is not None
        assert refused.error.code == "invalid_request"
        agent.terminate()
        assert await agent.ends() == 0
        assert "worker_0 stops" in agent.output


async def test_what_the_template_shows_in_comments_are_the_defaults(template: Path) -> None:
    as_it_is = (await specs_of(template))["my_agent"]
    manifest = template / "my_agent" / "agent.yaml"
    uncommented, number = _COMMENTED_DEFAULT.subn(r"\1", manifest.read_text())
    assert number > 20
    manifest.write_text(uncommented)
    spelt_out = (await specs_of(template))["my_agent"]
    assert replace(spelt_out, digest=as_it_is.digest) == as_it_is


async def test_the_clock_is_a_plain_executable_that_prints_and_can_be_stopped(tmp_path: Path) -> None:
    spec = (await specs_of(PACKAGES))["clock"]
    assert spec.heartbeat is None
    assert spec.readiness.mode is ReadinessMode.IMMEDIATE
    log = tmp_path / "out"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *spec.command,
            cwd=spec.working_directory,
            env={**os.environ, "CLOCK_INTERVAL_S": "0.01"},
            stdout=output,
            start_new_session=True,
        )
    await eventually(lambda: len(log.read_text().splitlines()) >= 2)
    os.killpg(process.pid, signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    assert re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n)+", log.read_text())
