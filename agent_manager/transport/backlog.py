"""What has come over the bus and waits to be read."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.subscription import Subscription


class Backlog:
    """Tells a queue that does not get shorter from one that is only long: it knows how late messages are read."""

    def __init__(self) -> None:
        self._subscriptions: tuple[Subscription, ...] = ()
        self._read = 0
        self._awaited = 0
        self._read_before = 0

    def watch(self, subscriptions: Sequence[Subscription]) -> None:
        """These from now on."""
        self._subscriptions = tuple(subscriptions)

    def was_read(self) -> None:
        """One of their messages has been read."""
        self._read += 1

    def is_late(self) -> bool:
        """Whether something that waited when this was asked last still waits, though others were read meanwhile.

        A subscription of which nothing is read has ended, and what waits there waits in vain.
        """
        read, awaited, read_before = self._read, self._awaited, self._read_before
        waiting = sum(subscription.pending_msgs for subscription in self._subscriptions)
        self._awaited, self._read_before = read + waiting, read
        return read_before < read < awaited
