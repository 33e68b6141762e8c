"""What is allowed, as pure data: no launch reaches another, none hears what it may say."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent_manager.domain.identifiers import AGENT_ID_PATTERN, RESERVED_AGENT_IDS, instance_id
from agent_manager.protocol import permissions, subjects

AGENT_IDS = st.from_regex(AGENT_ID_PATTERN, fullmatch=True).filter(lambda value: value not in RESERVED_AGENT_IDS)
TOKENS = st.from_regex(subjects.TOKEN_PATTERN, fullmatch=True)
# A few values only, so that launches often share some of them.
LAUNCHES = st.tuples(
    st.one_of(AGENT_IDS, st.sampled_from(["a", "b", "task", "api"])),
    st.sampled_from(["node-1", "node-2", "0", "a"]),
    st.integers(min_value=0, max_value=2),
    st.one_of(TOKENS, st.sampled_from(["l", "0", "0_l", "a_0"])),
)


def of(agent_id: str, node_id: str, ordinal: int, launch_id: str) -> permissions.Permissions:
    return permissions.of_launch(
        agent_id=agent_id, node_id=node_id, instance_id=instance_id(agent_id, ordinal), launch_id=launch_id
    )


def overlapping(left: tuple[str, ...], right: tuple[str, ...]) -> set[str]:
    return {one for one, other in product(left, right) if permissions.overlaps(one, other)}


@given(AGENT_IDS, TOKENS, st.integers(min_value=0, max_value=99_999), TOKENS)
def test_no_launch_hears_what_it_may_say(agent_id: str, node_id: str, ordinal: int, launch_id: str) -> None:
    allowed = of(agent_id, node_id, ordinal, launch_id)
    assert overlapping(allowed.publish, allowed.subscribe) == set()


@given(LAUNCHES, LAUNCHES)
def test_no_launch_says_what_another_may_say_but_the_answers_of_their_common_agent(
    one: tuple[str, str, int, str], other: tuple[str, str, int, str]
) -> None:
    # A launch is an instance and a launch id; it never moves to another node.
    assume((one[0], one[2], one[3]) != (other[0], other[2], other[3]))
    common = {subjects.agent_response(one[0])} if one[0] == other[0] else set()
    assert overlapping(of(*one).publish, of(*other).publish) == common


@given(LAUNCHES, LAUNCHES)
def test_no_launch_speaks_to_another(one: tuple[str, str, int, str], other: tuple[str, str, int, str]) -> None:
    assert overlapping(of(*one).publish, of(*other).subscribe) == set()


@given(LAUNCHES, LAUNCHES)
def test_no_launch_hears_the_answers_to_another(
    one: tuple[str, str, int, str], other: tuple[str, str, int, str]
) -> None:
    assume((one[0], one[2], one[3]) != (other[0], other[2], other[3]))
    inbox = subjects.inbox_prefix(instance_id(other[0], other[2]), other[3])
    assert overlapping(of(*one).subscribe, (f"{inbox}.>",)) == set()


@given(LAUNCHES)
def test_no_launch_reaches_managers_but_by_its_own_calls(launch: tuple[str, str, int, str]) -> None:
    reached = ("agent.manager.>", f"{subjects.MANAGER_INBOX_PREFIX}.>", f"{subjects.API_INBOX_PREFIX}.>", "$JS.>")
    assert overlapping(of(*launch).publish + of(*launch).subscribe, reached) == set()


@given(LAUNCHES)
def test_services_may_say_nothing_that_a_launch_says_but_answers(launch: tuple[str, str, int, str]) -> None:
    denied = permissions.OF_SERVICE.publish_denied
    said_by_both = {subject for subject in of(*launch).publish if not overlapping((subject,), denied)}
    assert said_by_both == {subjects.agent_response(launch[0])}


@pytest.mark.parametrize("instance", ["echo", "status"])
def test_ids_that_would_let_a_launch_hear_itself_are_refused(instance: str) -> None:
    with pytest.raises(ValueError, match="publish and to subscribe"):
        permissions.of_launch(agent_id="echo", node_id="n", instance_id=instance, launch_id="l")


def test_only_launches_may_answer_beyond_what_they_may_publish() -> None:
    others = (permissions.OF_MANAGER, permissions.OF_API, permissions.OF_SERVICE)
    assert [allowed.replies for allowed in (of("echo", "n", 0, "l"), *others)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.*", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("a.>", "*.*.c", True),
        ("a.*.c", "a.b.d", False),
    ],
)
def test_patterns_overlap_when_one_subject_matches_both(left: str, right: str, expected: bool) -> None:
    assert permissions.overlaps(left, right) is expected
    assert permissions.overlaps(right, left) is expected
