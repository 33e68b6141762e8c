"""The manager's connection to the bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.dialing import Caller
from agent_manager.nats_access.link import Hooks, Link
from agent_manager.nats_access.notices import log_fields
from agent_manager.nats_access.pace import Pace
from agent_manager.protocol import subjects

log = logging.getLogger(__name__)


def _unheeded() -> None:
    """Nobody counts errors."""


class BusConnection:
    """Keeps one client connected. `on_connected` subscribes; it is called anew for every client that is built.

    `on_up` is called when everything can be received, `on_down` when it no longer can: in turns, `on_up` first.
    `on_error` is called for every error, those of vain attempts included.
    """

    def __init__(
        self,
        *,
        access: Access,
        on_connected: Callable[[Client], Awaitable[None]],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_error: Callable[[], None] = _unheeded,
        connect_timeout_s: float = 2.0,
    ) -> None:
        self._on_up = on_up
        self._has_been_up = asyncio.Event()
        self._link = Link(
            access,
            Caller(name="agent-manager", inbox_prefix=subjects.MANAGER_INBOX_PREFIX),
            Hooks(
                subscribe=on_connected,
                tell=log_fields(log),
                up=self._up,
                down=on_down,
                trouble=lambda _: on_error(),
            ),
            Pace(connect_timeout_s=connect_timeout_s, longest_retry_s=1.0),
        )

    @property
    def client(self) -> Client | None:
        """The client while it is connected and subscribed, else None."""
        return self._link.client

    async def run(self) -> None:
        """Stay connected, until `close`."""
        await self._link.run()

    async def first_up(self) -> None:
        """Wait until everything can be received for the first time."""
        await self._has_been_up.wait()

    async def round_trip(self, timeout_s: float) -> bool:
        """Whether the server answers within `timeout_s`; False while there is no connection.

        A request, since what has been flushed in vain breaks nats-py when its PONG comes after all.
        """
        client = self.client
        if client is None:
            return False
        try:
            await client.request(subjects.MANAGER_PULSE, timeout=timeout_s)
        except nats.errors.NoRespondersError:
            return True
        except (nats.errors.Error, OSError):
            return False
        return True

    async def close(self) -> None:
        """Send what is buffered, as far as that is possible, and close for good."""
        await self._link.close()

    def _up(self) -> None:
        self._has_been_up.set()
        self._on_up()
