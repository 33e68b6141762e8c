"""Every way that `docs/nats.md` shows works, with the server's configuration that stands beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent_manager.adapters.nats.bus_check import needs_of_manager
from agent_manager.nats_access.dialing import Caller, dial, dispose
from agent_manager.nats_access.inspection import Weight, inspect_bus
from agent_manager.nats_access.nkey import KeyKind, Nkey
from agent_manager.nats_access.pace import Pace
from agent_manager.protocol import permissions, subjects
from agent_manager.settings.manager import MANAGER
from tests.harness.external_nats import Certificates, ExternalNats
from tests.harness.nats_server import running_nats
from tests.harness.newcomer import blocks
from tests.integration.nats_access.test_dialing import Nobodys

PAGE = (Path(__file__).parents[3] / "docs" / "nats.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##+ |\Z)", PAGE, re.DOTALL | re.MULTILINE))
BASE = next(block.text for block in blocks(PAGE) if block.kind == "text")
EXTERNAL = ["User and password", "Token", "nkey", "TLS", "What the manager's user must be allowed"]
OPERATOR = ["Credentials file", "Who agents are"]
CALLER = Caller(name="page", inbox_prefix=subjects.MANAGER_INBOX_PREFIX)


def of_kind(section: str, kind: str) -> str:
    [text] = [block.text for block in blocks(SECTIONS[section]) if block.kind == kind]
    return text


async def works(settings: str, folder: Path, *, embedded: bool = False) -> None:
    """The manager's settings lead to a connection on which nothing is wrong."""
    path = folder / "agent_manager.yaml"
    path.write_text(settings)
    loaded = MANAGER.load({}, config=path).settings
    client = await dial(loaded.nats.access({}).access, CALLER, Nobodys(), Pace(connect_timeout_s=5.0))
    found = await inspect_bus(client, needs_of_manager(embedded=embedded))
    await dispose(client)
    assert [each.text for each in found if each.weight is not Weight.NOTE] == []


def test_every_section_with_a_server_is_tried() -> None:
    shown = {name for name, text in SECTIONS.items() if any(block.kind == "text" for block in blocks(text))}
    assert shown == set(EXTERNAL)


@pytest.mark.parametrize("section", EXTERNAL)
async def test_the_way_works_with_the_configuration_beside_it(section: str, tmp_path: Path) -> None:
    key = Nkey.generate(KeyKind.USER)
    (tmp_path / "user.nk").write_text(key.seed)
    certificates = Certificates(tmp_path)
    certificates.issue("server", "127.0.0.1")
    certificates.issue("client", "manager@example.org")
    shown = BASE + of_kind(section, "text")
    for there, here in (
        ("/var/lib/nats", str(tmp_path / "store")),
        ("/etc/nats", str(tmp_path)),
        ("UAGENTMANAGERPUBLICKEY", key.public),
    ):
        shown = shown.replace(there, here)
    server = ExternalNats(tmp_path, {}, more=shown)
    try:
        await server.start()
        address = f"127.0.0.1:{server.port}"
        settings = of_kind(section, "yaml").replace("nats.example.org:4222", address)
        await works(settings.replace("/etc/agent-manager", str(tmp_path)), tmp_path)
    finally:
        await server.kill()


@pytest.mark.parametrize("section", OPERATOR)
async def test_the_way_works_in_operator_mode(section: str, tmp_path: Path) -> None:
    async with running_nats(tmp_path / "server") as server:
        settings = of_kind(section, "yaml")
        for there, here in (
            ("nats://nats.example.org:4222", server.url),
            ("/etc/agent-manager/manager.creds", str(server.files.manager_credentials)),
            ("/etc/agent-manager/account-signing.nk", str(server.files.signing_key)),
            ("AACCOUNTPUBLICKEY", server.prepared.keyring.account.public),
        ):
            settings = settings.replace(there, here)
        await works(settings, tmp_path, embedded=True)


async def test_a_context_is_enough(tmp_path: Path) -> None:
    async with running_nats(tmp_path / "server") as server:
        context = tmp_path / "production.json"
        context.write_text(f'{{"url": "{server.url}", "creds": "{server.files.manager_credentials}"}}')
        settings = of_kind("A context of the `nats` tool", "yaml").replace("/etc/agent-manager", str(tmp_path))
        await works(settings, tmp_path, embedded=True)


def test_several_servers_may_be_a_list(tmp_path: Path) -> None:
    path = tmp_path / "agent_manager.yaml"
    path.write_text(of_kind("Several servers", "yaml"))
    assert len(MANAGER.load({}, config=path).settings.nats.access({}).access.servers) == 3


def test_what_the_page_allows_the_api_is_what_it_needs() -> None:
    [shown] = re.findall(
        r"user: agent-manager-api.*?publish: (\[.*?\])\s+subscribe: (\[.*?\])",
        of_kind("What the manager's user must be allowed", "text"),
        re.DOTALL,
    )
    publish, subscribe = (tuple(json.loads(each)) for each in shown)
    assert (publish, subscribe) == (permissions.OF_API.publish, permissions.OF_API.subscribe)
