"""What launches say of themselves. Who speaks is read from the subject, never from the payload."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
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
from agent_manager.transport.requests import decode

M = TypeVar("M", bound=Message)

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

    async def register(self, client: Client) -> None:
        """Subscribe. Where one connection takes the place of another, each report comes over one of them."""
        queue = f"node-{self.node_id}"
        await client.subscribe(subjects.node_statuses(self.node_id), queue=queue, cb=self._status)
        await client.subscribe(subjects.node_metrics(self.node_id), queue=queue, cb=self._metrics)
        if self.shared:
            await client.subscribe(subjects.STATUS_FEED, queue=queue, cb=self._shared_status)
            await client.subscribe(subjects.METRICS_FEED, queue=queue, cb=self._shared_metrics)

    async def _status(self, message: Msg) -> None:
        speaker = subjects.parse_launch_subject(message.subject)
        report = _decode(StatusReport, message)
        if speaker is not None and report is not None:
            self._heard(speaker.instance_id, speaker.launch_id, report)

    async def _metrics(self, message: Msg) -> None:
        speaker = subjects.parse_launch_subject(message.subject)
        report = _decode(MetricsReport, message)
        if speaker is not None and report is not None:
            self._counted(speaker.instance_id, speaker.launch_id, report)

    async def _shared_status(self, message: Msg) -> None:
        report = _report(SharedStatusReport, message)
        if report is not None:
            self._heard(report.instance_id, report.launch_id, report)

    async def _shared_metrics(self, message: Msg) -> None:
        report = _report(SharedMetricsReport, message)
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


def _report(model: type[M], message: Msg) -> M | None:
    """A report of a launch; None for the managers' own updates, which travel on the same subject without a launch."""
    return _decode(model, message) if b'"launch_id"' in message.data else None


def _decode(model: type[M], message: Msg) -> M | None:
    try:
        return decode(model, message.data)
    except AgentManagerError as error:
        log.warning("report_ignored", extra={"subject": message.subject, "error": error.message[:300]})
        return None
