"""nats-py's client with two things it lacks: insisting on TLS, and leaving in order.

Both need its inner side: it sends its credentials unprotected to a server that offers no TLS, whatever the address
says, and can withdraw its subscriptions only by closing.
"""

from __future__ import annotations

from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription


class AccessClient(Client):
    """A client. With `tls_wanted`, `connect` raises SecureConnWantedError instead of going on unprotected."""

    def __init__(self, *, tls_wanted: bool) -> None:
        super().__init__()
        self._tls_wanted = tls_wanted
        self._taken: list[Subscription] = []

    @property
    def server(self) -> str:
        """Host and port of the server it is connected to, or was last."""
        url = self.connected_url
        return url.netloc if url is not None else ""

    async def subscribe(self, subject: str, *args: Any, **options: Any) -> Subscription:
        """As the client's own."""
        subscription = await super().subscribe(subject, *args, **options)
        if not subject.startswith(self._inbox_prefix.decode()):
            self._taken.append(subscription)
        return subscription

    async def withdraw(self) -> None:
        """Receive no more requests, and finish taking those that are on their way; answers can still be sent."""
        taken, self._taken = self._taken, []
        for subscription in taken:
            try:
                await subscription.drain()  # type: ignore[no-untyped-call]
            except nats.errors.BadSubscriptionError:
                continue  # left before

    def _connect_command(self) -> bytes:
        if self._tls_wanted and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()
