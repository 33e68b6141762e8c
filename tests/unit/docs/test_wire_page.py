"""`docs/wire.md` describes the wire as it is."""

from __future__ import annotations

import inspect
import re
from enum import StrEnum
from pathlib import Path

import pytest

from agent_manager.domain.exits import ExitReason
from agent_manager.domain.identifiers import RESERVED_AGENT_IDS
from agent_manager.domain.instances import InstanceStatus
from agent_manager.protocol import commands, headers, messages, permissions, subjects
from agent_manager.protocol.errors import ErrorBody, ErrorCode
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import OPERATIONS, Operation

PAGE = (Path(__file__).parents[3] / "docs" / "wire.md").read_text(encoding="utf-8")
OTHER_BUILDERS = {"token", "inbox_prefix", "node_statuses", "node_metrics", "agent_event_pattern", "instance_log_lines"}
"""What is no subject, and patterns over subjects that are built elsewhere."""
SUBJECT = re.compile(r"`((?:agent|task)\.[^`…]+)`")


def constants() -> list[str]:
    """Every subject, prefix and pattern that has a name."""
    named = [value for name, value in vars(subjects).items() if name.isupper() and not name.startswith("_")]
    return [value for entry in named for value in ([entry] if isinstance(entry, str) else entry)]


def built() -> dict[str, str]:
    """By builder, the form of its subject as its docstring gives it; empty where it gives none."""
    functions = inspect.getmembers(subjects, inspect.isfunction)
    builders = [(name, function) for name, function in functions if function.__annotations__.get("return") == "str"]
    forms = {name: SUBJECT.search(inspect.getdoc(function) or "") for name, function in builders if name[0] != "_"}
    return {name: form[1] if form else "" for name, form in forms.items() if name not in OTHER_BUILDERS}


def sent() -> list[type[Message]]:
    """Every message but the base of all."""
    classes = [member for _, member in inspect.getmembers(messages, inspect.isclass)]
    return [member for member in classes if issubclass(member, Message) and member is not Message]


def test_every_builder_documents_its_subject() -> None:
    assert [name for name, form in built().items() if not form] == []


@pytest.mark.parametrize("subject", sorted({*constants(), *built().values()}))
def test_every_subject_is_there(subject: str) -> None:
    assert subject in PAGE


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_has_its_row(operation: Operation) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{operation.name}` |"))
    kind, agent, params, result = [cell.strip() for cell in row.split("|")[2:6]]
    assert kind == operation.kind
    assert (agent == "yes") is operation.agent
    assert re.findall(r"`(\w+)`", params) == list(operation.params.model_fields)
    assert result == f"`{operation.result.__name__}`"


@pytest.mark.parametrize("model", [*sent(), ErrorBody], ids=lambda model: model.__name__)
def test_every_message_is_there_with_all_its_fields(model: type[Message]) -> None:
    shapes = [set(re.findall(r"\w+", shape)) for shape in re.findall(r"\{([^}]+)\}", PAGE)]
    assert any(set(model.model_fields) <= shape for shape in shapes)


@pytest.mark.parametrize("words", [ErrorCode, InstanceStatus, ExitReason])
def test_every_word_of_a_closed_list_is_explained(words: type[StrEnum]) -> None:
    assert [word.value for word in words if f"`{word.value}`" not in PAGE] == []


def test_every_command_that_agents_answer_is_there() -> None:
    assert [command for command in commands.BUILT_IN if f"`{command}`" not in PAGE] == []


def test_every_reserved_agent_id_is_there() -> None:
    assert [reserved for reserved in RESERVED_AGENT_IDS if f"`{reserved}`" not in PAGE] == []


def test_the_header_is_there() -> None:
    assert headers.ACTOR in PAGE


@pytest.mark.parametrize("user", [permissions.OF_API, permissions.OF_SERVICE])
def test_every_permission_of_the_fixed_users_is_there(user: permissions.Permissions) -> None:
    patterns = {*user.publish, *user.subscribe, *user.publish_denied, *user.subscribe_denied} - {">"}
    assert [pattern for pattern in patterns if f"`{pattern}`" not in PAGE] == []


def test_the_bounds_of_replies_are_there() -> None:
    assert f"{permissions.REPLIES_MAX}, within {permissions.REPLIES_TTL_S} s" in PAGE
