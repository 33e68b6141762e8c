"""A client of a bus that is not there: what was subscribed to, what is delivered, what was published."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import BadSubjectError

from agent_manager.protocol.permissions import overlaps

Callback = Callable[[Msg], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Published:
    """One message on its way out."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


@dataclass
class MemoryClient:
    """Takes the place of nats-py's client, as far as whoever listens and answers knows it."""

    max_payload: int = 8_388_608
    published: list[Published] = field(default_factory=list)
    listening: dict[str, Callback] = field(default_factory=dict)
    is_connected: bool = True
    is_closed: bool = False

    @property
    def as_client(self) -> Client:
        """Itself, for those who want one of nats-py."""
        return cast(Client, self)

    async def subscribe(self, subject: str, queue: str = "", cb: Callback | None = None) -> Subscription:
        """Note who listens to what. Nothing ever waits."""
        assert cb is not None
        self.listening[subject] = cb
        return cast(Subscription, SimpleNamespace(pending_msgs=0))

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Refuse what nats-py refuses, and what a server would close the connection for."""
        if not subject or any(character.isspace() for character in subject):
            raise BadSubjectError
        wire = [subject, *(headers or {}), *(headers or {}).values()]
        assert len(payload) + sum(len(word.encode()) + 4 for word in wire) <= self.max_payload
        assert len(subject) <= 4_050
        self.published.append(Published(subject, payload, dict(headers or {})))

    async def deliver(
        self, subject: str, body: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> int:
        """Hand a message to everybody who listens; returns how many that were."""
        message = Msg(
            _client=self.as_client, subject=subject, reply=reply, data=body, headers=dict(headers) if headers else None
        )
        callbacks = [callback for pattern, callback in self.listening.items() if overlaps(pattern, subject)]
        for callback in callbacks:
            await callback(message)
        return len(callbacks)

    def taken(self) -> list[Published]:
        """What was published since this was last asked."""
        published, self.published = self.published, []
        return published

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody is expected to use {name} of a client")
