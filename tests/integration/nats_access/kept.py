"""A link under test and what it has told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.nats_access.access import Access
from agent_manager.nats_access.dialing import Caller
from agent_manager.nats_access.link import Hooks, Link
from agent_manager.nats_access.notices import Notice
from agent_manager.nats_access.pace import Pace
from agent_manager.nats_access.trouble import Trouble


@dataclass
class Kept:
    """`told` are ups and downs, `notices` what belongs into a log, `heard` what came on `heard.>`.

    `clients` are all that have been built; a message is held by `hold`, a client that subscribes by `subscribing`.
    """

    access: Access
    reconnects: bool = True
    pace: Pace = field(default_factory=Pace)
    told: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hold: asyncio.Event | None = None
        self.subscribing: asyncio.Event | None = None
        self.clients: list[Client] = []
        self.link = Link(
            self.access,
            Caller(name="kept", inbox_prefix="_INBOX_kept", reconnects=self.reconnects),
            Hooks(
                subscribe=self._subscribe,
                tell=self.notices.append,
                up=lambda: self.told.append("up"),
                down=lambda: self.told.append("down"),
                trouble=self.troubles.append,
            ),
            self.pace,
        )

    @property
    def events(self) -> list[str]:
        """The names of the notices."""
        return [notice.event for notice in self.notices]

    @property
    def server(self) -> str:
        """Host and port of the server it is connected to; empty without."""
        return self.link.client.server if self.link.client is not None else ""

    async def _subscribe(self, client: Client) -> None:
        self.clients.append(client)
        await client.subscribe("heard.>", queue="kept", cb=self._hear)
        if self.subscribing is not None:
            await self.subscribing.wait()

    async def _hear(self, message: Msg) -> None:
        self.heard.append(message.data)
        if self.hold is not None:
            await self.hold.wait()


@asynccontextmanager
async def kept(access: Access, *, reconnects: bool = True, pace: Pace | None = None) -> AsyncIterator[Kept]:
    """A link that runs, closed with the block."""
    made = Kept(access, reconnects=reconnects, pace=pace or Pace(longest_retry_s=0.2))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.link.run(), name="link")
        try:
            yield made
        finally:
            await made.link.close()
