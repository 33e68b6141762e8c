"""Subjects are built and parsed alike, and carry nothing that would change their shape."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent_manager.domain.identifiers import AGENT_ID_PATTERN, instance_id
from agent_manager.protocol import subjects
from agent_manager.protocol.permissions import overlaps

TOKENS = st.from_regex(subjects.TOKEN_PATTERN, fullmatch=True)
SPEAKERS = st.builds(subjects.LaunchSubject, node_id=TOKENS, instance_id=TOKENS, launch_id=TOKENS)
INSTANCE_IDS = st.builds(instance_id, st.from_regex(AGENT_ID_PATTERN, fullmatch=True), st.integers(0, 99_999))


@given(SPEAKERS)
def test_the_speaker_of_a_heartbeat_is_read_back(speaker: subjects.LaunchSubject) -> None:
    assert subjects.parse_launch_subject(subjects.launch_status(speaker)) == speaker


@given(SPEAKERS)
def test_the_speaker_of_metrics_is_read_back(speaker: subjects.LaunchSubject) -> None:
    assert subjects.parse_launch_subject(subjects.launch_metrics(speaker)) == speaker


@given(SPEAKERS)
def test_a_node_hears_its_launches(speaker: subjects.LaunchSubject) -> None:
    assert overlaps(subjects.launch_status(speaker), subjects.node_statuses(speaker.node_id))
    assert overlaps(subjects.launch_metrics(speaker), subjects.node_metrics(speaker.node_id))


@given(SPEAKERS, TOKENS)
def test_a_node_does_not_hear_the_launches_of_another(speaker: subjects.LaunchSubject, other: str) -> None:
    assume(other != speaker.node_id)
    assert not overlaps(subjects.launch_status(speaker), subjects.node_statuses(other))
    assert not overlaps(subjects.launch_metrics(speaker), subjects.node_metrics(other))


@given(TOKENS, TOKENS)
def test_an_event_is_read_back_and_heard_by_those_who_follow_its_agent(agent_id: str, event: str) -> None:
    subject = subjects.agent_event(agent_id, event)
    assert subjects.parse_agent_event(subject) == (agent_id, event)
    assert overlaps(subject, subjects.agent_event_pattern(agent_id))
    assert overlaps(subject, subjects.ALL_AGENT_EVENTS)


@given(INSTANCE_IDS, TOKENS, INSTANCE_IDS, TOKENS)
def test_no_two_launches_have_the_same_inbox(one: str, one_launch: str, other: str, other_launch: str) -> None:
    assume((one, one_launch) != (other, other_launch))
    assert subjects.inbox_prefix(one, one_launch) != subjects.inbox_prefix(other, other_launch)


@given(INSTANCE_IDS, TOKENS)
def test_what_a_launch_publishes_is_known_as_a_launchs(instance: str, launch_id: str) -> None:
    speaker = subjects.LaunchSubject(node_id="n", instance_id=instance, launch_id=launch_id)
    for said in (
        subjects.launch_status(speaker),
        subjects.launch_metrics(speaker),
        subjects.launch_calls(instance, launch_id),
        subjects.task_results(instance, launch_id),
        subjects.task_outputs(instance, launch_id),
    ):
        assert any(overlaps(said, pattern) for pattern in subjects.ALL_LAUNCH_SUBJECTS)


@pytest.mark.parametrize("feed", [subjects.STATUS_FEED, subjects.METRICS_FEED])
def test_the_feeds_are_not_among_what_launches_publish(feed: str) -> None:
    assert not any(overlaps(feed, pattern) for pattern in subjects.ALL_LAUNCH_SUBJECTS)


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (subjects.operation("agents", "start"), "agent.manager.agents.start"),
        (subjects.api_operation("agents", "start"), "agent.manager.api.agents.start"),
        (subjects.agent_command("echo"), "agent.echo.command"),
        (subjects.agent_query("echo_0"), "agent.echo_0.query"),
        (subjects.agent_response("echo"), "agent.echo.response"),
        (subjects.agent_requests("echo_0"), "agent.echo_0.>"),
        (subjects.launch_calls("echo_0", "l"), "agent.call.echo_0.l.>"),
        (subjects.task_results("echo_0", "l"), "task.result.echo_0.l.>"),
        (subjects.task_outputs("echo_0", "l"), "task.output.echo_0.l.>"),
        (subjects.inbox_prefix("echo_0", "l"), "_INBOX_echo_0_l"),
    ],
)
def test_subjects_are_those_of_the_documents(built: str, expected: str) -> None:
    assert built == expected


@pytest.mark.parametrize(
    "value", ["", "a.b", "*", ">", "a b", "A", "-a", "_a", "a" * 64, "é", "a\n", "a\r\nPUB x 0\r\n"]
)
def test_what_would_change_a_subjects_shape_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be a subject token"):
        subjects.agent_command(value)
    with pytest.raises(ValueError, match="cannot be a subject token"):
        subjects.inbox_prefix("echo_0", value)


@given(st.text())
def test_any_text_is_either_a_token_or_refused(value: str) -> None:
    try:
        built = subjects.agent_event("echo", value)
    except ValueError:
        return
    assert subjects.parse_agent_event(built) == ("echo", value)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "agent.status",
        "agent.status.n.i",
        "agent.status.n.i.l.x",
        "agent.status.n..l",
        "agent.status.n.I.l",
        "agent.event.n.i.l",
        "task.status.n.i.l",
    ],
)
def test_what_is_no_subject_of_a_launch_has_no_speaker(subject: str) -> None:
    assert subjects.parse_launch_subject(subject) is None


@pytest.mark.parametrize(
    "subject", ["", "agent.event", "agent.event.a", "agent.event.a.b.c", "agent.log.a.b", "agent.event.a.B"]
)
def test_what_is_no_event_is_not_read_as_one(subject: str) -> None:
    assert subjects.parse_agent_event(subject) is None


@given(INSTANCE_IDS, st.sampled_from(["out", "err"]))
def test_whose_output_it_is_is_read_back(instance: str, stream: str) -> None:
    assert subjects.parse_log_lines(subjects.log_lines(instance, stream)) == (instance, stream)
    assert overlaps(subjects.log_lines(instance, stream), subjects.instance_log_lines(instance))


@pytest.mark.parametrize("subject", ["", "agent.log.a", "agent.log.a.both", "agent.log.A.out", "agent.event.a.out"])
def test_what_is_no_output_is_not_read_as_such(subject: str) -> None:
    assert subjects.parse_log_lines(subject) is None
