"""Identifiers and their rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.domain.errors import InvalidRequestError
from agent_manager.domain.identifiers import (
    AGENT_ID_PATTERN,
    RESERVED_AGENT_IDS,
    agent_id_of_folder,
    check_agent_id,
    instance_id,
    split_instance_id,
)
from agent_manager.protocol.subjects import token

AGENT_IDS = st.from_regex(AGENT_ID_PATTERN, fullmatch=True).filter(lambda value: value not in RESERVED_AGENT_IDS)


@given(AGENT_IDS, st.integers(0, 99_999))
def test_an_instance_id_is_a_subject_token_splits_again_and_is_never_an_agent_id(agent_id: str, ordinal: int) -> None:
    name = instance_id(agent_id, ordinal)
    assert token(name) == name
    assert split_instance_id(name) == (agent_id, ordinal)
    with pytest.raises(InvalidRequestError):
        check_agent_id(name)


@pytest.mark.parametrize("value", ["", "Echo", "a b", "-a", "a_b", "a.b", "a>", "*", "x" * 57, "é", "echo\n"])
def test_a_bad_agent_id_is_refused_with_the_value_and_the_rule(value: str) -> None:
    with pytest.raises(InvalidRequestError, match="lower-case letters, digits and hyphens"):
        check_agent_id(value)


@pytest.mark.parametrize("value", sorted(RESERVED_AGENT_IDS))
def test_reserved_ids_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequestError, match="reserved"):
        check_agent_id(value)


@pytest.mark.parametrize(("value", "meant"), [("my_agent", "my-agent"), ("Echo", "echo"), ("echo_1", "echo")])
def test_what_may_have_been_meant_is_said(value: str, meant: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"did you mean {meant}\?$"):
        check_agent_id(value)


def test_a_folders_underscores_become_hyphens() -> None:
    assert agent_id_of_folder("late_comer") == "late-comer"


@pytest.mark.parametrize("value", ["echo", "echo_", "echo_01", "echo_x", "_0", "a_b_0", "echo_0\n"])
def test_what_is_no_instance_id_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequestError, match="<agent_id>_<ordinal>"):
        split_instance_id(value)
