"""Hostile messages for everything a manager listens to, and what must come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from agent_manager.protocol import subjects
from agent_manager.protocol.errors import ErrorCode
from agent_manager.protocol.messages import (
    Envelope,
    MetricsReport,
    Request,
    Response,
    SharedMetricsReport,
    SharedStatusReport,
    StatusReport,
)
from agent_manager.protocol.operations import OPERATIONS, ChangeParams, Operation
from tests.harness import hostile
from tests.harness.memory_bus import Published

COMMANDS = st.sampled_from(
    [*(each.name for each in OPERATIONS), *(each.verb for each in OPERATIONS), "", ".", "agents.", "agents.\0", "drain"]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast:
    """Who is there. `prey` may be started and stopped, and its launch speaks; the instance `steady` nobody means."""

    node_id: str
    prey: str
    launch_id: str
    steady: str
    steady_launch_id: str

    @property
    def speaker(self) -> str:
        """The end of the subjects of prey's launch."""
        return f"{self.node_id}.{self.prey}_0.{self.launch_id}"

    @property
    def impostors(self) -> Sequence[str]:
        """Ends of subjects that belong to no launch there is."""
        node, steady, launch = self.node_id, self.steady, self.steady_launch_id
        return [
            *(f"{node}.{self.prey}_0.nobody", f"{node}.{steady}.{self.launch_id}", f"{node}.{steady}.x"),
            *(f"{node}.{steady}.{launch.upper()}", f"{node}.nobody_0.{launch}", f"{node}.{self.prey}.{launch}"),
            *(f"{node}.{steady}0.{launch}", f"{node}.{steady}.{launch}\x0b", f"{node}.\0.é", f"{node}.*.>"),
            f"{node}.{'x' * 500}.{launch}",
        ]


def requests_of(cast: Cast, operation: Operation, **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Valid requests on an operation's own subject."""
    return hostile.valid(Request, params=_params(operation), agent_id=_agents(cast), **fixed)


def envelopes(cast: Cast, **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Valid envelopes."""
    params = st.one_of(*(_params(operation) for operation in OPERATIONS))
    return hostile.valid(Envelope, params=params, agent_id=_agents(cast), command=COMMANDS, **fixed)


def messages_of(cast: Cast, pattern: str) -> st.SearchStrategy[tuple[str, bytes]]:
    """Subjects and bodies for a pattern that is listened to. Raises KeyError for one that nobody has thought of."""
    if pattern.startswith("$SRV."):
        return st.tuples(st.just(pattern), hostile.JUNK)
    names = st.just(pattern)
    if pattern.endswith(".*.*"):
        speakers = st.just(cast.speaker) | st.sampled_from(cast.impostors)
        names = speakers.map(lambda speaker: pattern.replace(f"{cast.node_id}.*.*", speaker))
    return st.tuples(names, hostile.bodies(_documents(cast)[pattern]))


def check_answers(subject: str, reply: str, said: Sequence[Published]) -> None:
    """One answer, to where it may go, in the form of the wire, with a code that is documented."""
    cannot_be_answered = any(character.isspace() for character in reply) and reply.startswith(subjects.INBOX_PREFIX)
    if subject.startswith("$SRV."):
        assert [answer.subject for answer in said] in ([], [reply])
    elif cannot_be_answered or subject.startswith(("agent.status", "agent.metrics")):
        assert said == []
    else:
        (answer,) = said
        assert answer.subject == (reply if reply.startswith(subjects.INBOX_PREFIX) else subjects.MANAGER_RESPONSE)
        check_answer(answer)


def check_answer(answer: Published) -> Response:
    """An answer in the form of the wire, with a code that is documented; nothing has failed inside."""
    response = Response.model_validate(hostile.strictly(answer.body))
    assert (response.status == "error") is (response.error is not None)
    if response.error is not None:
        assert response.error.code in set(ErrorCode) - {ErrorCode.INTERNAL}, response.error
        assert answer.headers["Nats-Service-Error-Code"] == response.error.code
        assert answer.headers["Nats-Service-Error"].isprintable()
    return response


def _documents(cast: Cast) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    shared: dict[str, Any] = {
        "instance_id": st.sampled_from([f"{cast.prey}_0", cast.steady, "nobody_0"]),
        "launch_id": st.sampled_from([cast.launch_id, "", "x"]),
    }
    documents = {
        subjects.MANAGER_COMMAND: envelopes(cast),
        subjects.MANAGER_QUERY: envelopes(cast),
        subjects.node_statuses(cast.node_id): hostile.valid(StatusReport),
        subjects.node_metrics(cast.node_id): hostile.valid(MetricsReport),
        subjects.STATUS_FEED: hostile.valid(SharedStatusReport, **shared),
        subjects.METRICS_FEED: hostile.valid(SharedMetricsReport, **shared),
    }
    for operation in OPERATIONS:
        for subject in (subjects.operation, subjects.api_operation):
            documents[subject(operation.resource, operation.verb)] = requests_of(cast, operation)
    return documents


def _agents(cast: Cast) -> st.SearchStrategy[str]:
    return st.sampled_from([cast.prey, "nobody"])


def _params(operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    """Parameters with which nobody waits for long."""
    if operation.params is ChangeParams:
        return hostile.valid(ChangeParams, wait_s=st.floats(0.0, 0.05))
    return hostile.valid(operation.params)
