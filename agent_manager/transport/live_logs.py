"""Output on its way to followers: as an answer, and live."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, cast

import nats.errors
from nats.aio.client import Client

from agent_manager.ports.processes import LogPiece
from agent_manager.protocol import subjects
from agent_manager.protocol.messages import LogLines

log = logging.getLogger(__name__)


class LiveLogs:
    """Implements `ports.bus.LogChannel` on `agent.log.{instance_id}.{stream}`."""

    def __init__(self, client: Callable[[], Client | None]) -> None:
        """`client` is the connected client, None while there is none."""
        self._client = client

    async def lines(self, instance_id: str, stream: str, piece: LogPiece) -> bool:
        """See the port."""
        client = self._client()
        if client is None:
            return False
        subject = subjects.log_lines(instance_id, stream)
        try:
            await client.publish(subject, of_piece(instance_id, stream, piece).model_dump_json().encode())
        except nats.errors.Error as error:
            log.warning("not_published", extra={"subject": subject, "error": str(error)})
            return False
        return True


def of_piece(instance_id: str, stream: str, piece: LogPiece) -> LogLines:
    """A piece of output as the wire shows it."""
    return LogLines(
        instance_id=instance_id,
        stream=cast(Literal["out", "err"], stream),
        start=piece.start,
        end=piece.end,
        lines=list(piece.lines),
        unfinished=piece.unfinished,
    )
