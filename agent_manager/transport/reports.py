"""What launches say of themselves. Who speaks is read from the subject, never from the payload."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.domain.errors import AgentManagerError
from agent_manager.domain.identifiers import split_instance_id
from agent_manager.domain.instances import Heartbeat
from agent_manager.protocol import subjects
from agent_manager.protocol.messages import (
    Message,
    MetricsReport,
    MetricsUpdate,
    SharedMetricsReport,
    SharedStatusReport,
    StatusReport,
)
from agent_manager.services.counters import Counters
from agent_manager.services.supervisor import Supervisor
from agent_manager.transport.admission import Admission
from agent_manager.transport.backlog import Backlog
from agent_manager.transport.requests import decode

M = TypeVar("M", bound=Message)

REPORTS_PER_S = 20.0
"""What a launch may report, on each of its two subjects: twice what the shortest interval of heartbeats, and of metrics
in the SDK, makes of it."""
REPORTS_AT_ONCE = 40
COMPLAINTS_PER_S = 1 / 60
"""Lines in the log about one subject."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """Subscribes to this node's launches and hands on what they say.

    `shared`: launches have no identities of their own, and may say in the payload who they are. Otherwise what a
    payload says of that is never believed.
    """

    supervisor: Supervisor
    counters: Counters
    publish: Callable[[str, Message], None]
    node_id: str
    shared: bool = False
    _admitted: Admission = field(
        default_factory=lambda: Admission(rate=REPORTS_PER_S, burst=REPORTS_AT_ONCE), init=False
    )
    _complaints: Admission = field(default_factory=lambda: Admission(rate=COMPLAINTS_PER_S, burst=1), init=False)
    _heartbeats: Backlog = field(default_factory=Backlog, init=False)

    def are_behind(self) -> bool:
        """Whether a heartbeat that somebody waits for may have come before this was asked last, and wait unread."""
        return self._heartbeats.is_late()

    async def register(self, client: Client) -> None:
        """Subscribe. Where one connection takes the place of another, each report comes over one of them."""
        queue = f"node-{self.node_id}"
        heartbeats = [await client.subscribe(subjects.node_statuses(self.node_id), queue=queue, cb=self._status)]
        await client.subscribe(subjects.node_metrics(self.node_id), queue=queue, cb=self._metrics)
        if self.shared:
            heartbeats.append(await client.subscribe(subjects.STATUS_FEED, queue=queue, cb=self._shared_status))
            await client.subscribe(subjects.METRICS_FEED, queue=queue, cb=self._shared_metrics)
        self._heartbeats.watch(client, heartbeats)

    async def _status(self, message: Msg) -> None:
        self._heartbeats.was_read()
        speaker = subjects.parse_launch_subject(message.subject)
        report = self._decode(StatusReport, message)
        if speaker is not None and report is not None:
            self._heard(speaker.instance_id, speaker.launch_id, report)

    async def _metrics(self, message: Msg) -> None:
        speaker = subjects.parse_launch_subject(message.subject)
        report = self._decode(MetricsReport, message)
        if speaker is not None and report is not None:
            self._counted(speaker.instance_id, speaker.launch_id, report)

    async def _shared_status(self, message: Msg) -> None:
        self._heartbeats.was_read()
        report = self._report(SharedStatusReport, message)
        if report is not None:
            self._heard(report.instance_id, report.launch_id, report)

    async def _shared_metrics(self, message: Msg) -> None:
        report = self._report(SharedMetricsReport, message)
        if report is not None:
            self._counted(report.instance_id, report.launch_id, report)

    def _heard(self, instance_id: str, launch_id: str, report: StatusReport) -> None:
        heartbeat = Heartbeat(
            number=report.number,
            status=report.status,
            load=report.load,
            running=tuple(report.running),
            metadata=report.metadata,
        )
        self.supervisor.heartbeat(instance_id, launch_id, heartbeat)

    def _counted(self, instance_id: str, launch_id: str, report: MetricsReport) -> None:
        if self.counters.reported(instance_id, launch_id, report.counters):
            agent_id, _ = split_instance_id(instance_id)
            update = MetricsUpdate(
                agent_id=agent_id,
                instance_id=instance_id,
                counters=report.counters,
                timestamp=datetime.now(UTC),
            )
            self.publish(subjects.METRICS_FEED, update)

    def _report(self, model: type[M], message: Msg) -> M | None:
        """A report of a launch; None for the managers' own updates, which travel on its subject without a launch."""
        return self._decode(model, message) if b'"launch_id"' in message.data else None

    def _decode(self, model: type[M], message: Msg) -> M | None:
        """None for what is no report, and for what comes faster than anybody can have something to say."""
        subject = message.subject
        # Whoever shares a subject with all others cannot be told from them.
        if not self.shared and not self._admitted.admits(subject):
            self._complain("reports_dropped", subject, f"more than {REPORTS_PER_S:g} a second")
            return None
        try:
            return decode(model, message.data)
        except AgentManagerError as error:
            self._complain("report_ignored", subject, error.message[:300])
            return None

    def _complain(self, event: str, subject: str, error: str) -> None:
        if self._complaints.admits(subject):
            log.warning(event, extra={"subject": subject, "error": error})
