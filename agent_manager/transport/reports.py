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
from agent_manager.protocol.messages import Message, MetricsReport, MetricsUpdate, StatusReport
from agent_manager.services.counters import Counters
from agent_manager.services.supervisor import Supervisor
from agent_manager.transport.requests import decode

M = TypeVar("M", bound=Message)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """Subscribes to this node's launches and hands on what they say."""

    supervisor: Supervisor
    counters: Counters
    publish: Callable[[str, Message], None]
    node_id: str

    async def register(self, client: Client) -> None:
        """Subscribe."""
        await client.subscribe(subjects.node_statuses(self.node_id), cb=self._status)
        await client.subscribe(subjects.node_metrics(self.node_id), cb=self._metrics)

    async def _status(self, message: Msg) -> None:
        speaker = subjects.parse_launch_subject(message.subject)
        report = _decode(StatusReport, message)
        if speaker is None or report is None:
            return
        heartbeat = Heartbeat(
            number=report.number,
            status=report.status,
            load=report.load,
            running=tuple(report.running),
            metadata=report.metadata,
        )
        self.supervisor.heartbeat(speaker.instance_id, speaker.launch_id, heartbeat)

    async def _metrics(self, message: Msg) -> None:
        speaker = subjects.parse_launch_subject(message.subject)
        report = _decode(MetricsReport, message)
        if speaker is None or report is None:
            return
        if self.counters.reported(speaker.instance_id, speaker.launch_id, report.counters):
            agent_id, _ = split_instance_id(speaker.instance_id)
            update = MetricsUpdate(
                agent_id=agent_id,
                instance_id=speaker.instance_id,
                counters=report.counters,
                timestamp=datetime.now(UTC),
            )
            self.publish(subjects.METRICS_FEED, update)


def _decode(model: type[M], message: Msg) -> M | None:
    try:
        return decode(model, message.data)
    except AgentManagerError as error:
        log.warning("report_ignored", extra={"subject": message.subject, "error": error.message[:300]})
        return None
