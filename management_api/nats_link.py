"""The API's one connection to the bus, kept up for as long as the program runs.

The client library's own reconnecting is switched off: it buffers requests while disconnected and delivers them long
after the caller has given up.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.dialing import Caller
from agent_manager.nats_access.link import Hooks, Link
from agent_manager.nats_access.notices import log_fields
from agent_manager.nats_access.pace import Pace
from agent_manager.protocol import subjects

_log = logging.getLogger(__name__)


class NatsLink:
    """Connects, subscribes to the event feed, and does both again whenever the connection is lost.

    `on_event` receives subject and body of each event; `on_lost` is called when a connection that was up is gone.
    Neither may block.
    """

    def __init__(
        self,
        *,
        access: Access,
        on_event: Callable[[str, bytes], None],
        on_lost: Callable[[], None],
        connect_timeout_s: float = 2.0,
    ) -> None:
        self._on_event = on_event
        # While one connection takes the place of another, each event comes over one of them.
        self._queue = f"api-{uuid.uuid4().hex}"
        self._link = Link(
            access,
            Caller(name="management-api", inbox_prefix=subjects.API_INBOX_PREFIX, reconnects=False),
            Hooks(subscribe=self._subscribe, tell=log_fields(_log), down=on_lost),
            Pace(connect_timeout_s=connect_timeout_s, longest_retry_s=1.0),
        )

    @property
    def client(self) -> Client | None:
        """The connected client, None while there is none."""
        return self._link.client

    @property
    def server(self) -> str:
        """The servers of the bus, without users and passwords."""
        return self._link.access.where

    async def run(self) -> None:
        """Stay connected until cancelled."""
        await self._link.run()

    async def _subscribe(self, client: Client) -> None:
        for events in subjects.EVENT_STREAM_SUBJECTS:
            await client.subscribe(events, queue=self._queue, cb=self._receive)

    async def _receive(self, message: Msg) -> None:
        self._on_event(message.subject, message.data)
