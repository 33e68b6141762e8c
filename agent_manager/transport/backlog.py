"""What has come over the bus and waits to be read."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.client import Client
from nats.aio.subscription import Subscription


class Backlog:
    """Tells a queue that does not get shorter from one that is only long: it knows how late messages are read."""

    def __init__(self) -> None:
        self._watched: list[tuple[Client, Sequence[Subscription]]] = []
        self._read = 0
        self._awaited = 0
        self._read_before = 0

    def watch(self, client: Client, subscriptions: Sequence[Subscription]) -> None:
        """These too, until their client is closed: one that is to take another's place may fail to."""
        self._watched.append((client, subscriptions))

    def was_read(self) -> None:
        """One of their messages has been read."""
        self._read += 1

    def is_late(self) -> bool:
        """Whether something that waited when this was asked last still waits, though others were read meanwhile.

        A subscription of which nothing is read has ended, and what waits there waits in vain.
        """
        self._watched = [(client, subscriptions) for client, subscriptions in self._watched if not client.is_closed]
        read, awaited, read_before = self._read, self._awaited, self._read_before
        waiting = sum(each.pending_msgs for _, subscriptions in self._watched for each in subscriptions)
        self._awaited, self._read_before = read + waiting, read
        return read_before < read < awaited
