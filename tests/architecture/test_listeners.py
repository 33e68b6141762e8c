"""Whoever listens on the bus is tried with hostile messages."""

from __future__ import annotations

import ast

from tests.architecture.test_modules import MODULES, ROOT, name_of, tree_of

TRIED = {
    "agent_manager.transport.endpoints": "tests/unit/transport/test_hostile_messages.py",
    "agent_manager.transport.reports": "tests/unit/transport/test_hostile_messages.py",
    "agent_manager.transport.announcement": "tests/unit/transport/test_hostile_messages.py",
    "agent_manager.sdk.reception": "tests/unit/sdk/test_hostile_commands.py",
    "agent_manager.sdk.announcement": "tests/unit/sdk/test_hostile_commands.py",
    "agent_manager.cli.console": "tests/unit/cli/test_console.py",
    "management_api.log_inbox": "tests/unit/management_api/test_hostile_messages.py",
    "management_api.nats_link": "tests/unit/management_api/test_hostile_messages.py",
    # Listens for what the server itself answers, on an inbox of its own.
    "management_api.event_history": "tests/integration/management_api/test_events.py",
}
"""By module that subscribes, the tests that say to it whatever can be said."""
PASS_ON = {"agent_manager.nats_access.link", "agent_manager.sdk.connection"}
"""Modules that subscribe for others."""


def subscribes(tree: ast.Module) -> bool:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(isinstance(called, ast.Attribute) and called.attr == "subscribe" for called in calls)


def test_every_module_that_listens_is_tried() -> None:
    listening = {name_of(path) for path in MODULES if subscribes(tree_of(path))}
    assert listening == {*TRIED, *PASS_ON}
    assert [test for test in TRIED.values() if not (ROOT / test).exists()] == []
