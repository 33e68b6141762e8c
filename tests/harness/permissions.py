"""Asking a real server whether a connection may publish or subscribe, both by what arrives and by what is refused."""

from __future__ import annotations

from nats.aio.client import Client

from tests.harness.nats_server import NatsHarness, settle


async def may_publish(nats: NatsHarness, speaker: Client, subject: str, *, reply: str = "") -> bool:
    """Whether a message of `speaker` arrives; asserts that otherwise, and only then, it was refused."""
    manager = await nats.connect_as_manager()
    listening = await manager.subscribe(subject)
    await settle(manager)
    nats.errors.clear()
    await speaker.publish(subject, b"probe", reply=reply)
    await settle(speaker, manager)
    arrived = listening.pending_msgs == 1
    assert arrived != _was_refused(nats, "publish", subject), (subject, nats.errors)
    await manager.close()
    return arrived


async def may_subscribe(nats: NatsHarness, listener: Client, pattern: str, *, probe: str | None = None) -> bool:
    """Whether what is published on `probe` (default: `pattern`) arrives at `listener` when it subscribes to `pattern`.

    Asserts that a refused subscription receives nothing. An accepted one may still be kept from what is denied.
    """
    manager = await nats.connect_as_manager()
    nats.errors.clear()
    listening = await listener.subscribe(pattern)
    await settle(listener)
    await manager.publish(probe or pattern, b"probe")
    await settle(manager, listener)
    arrived = listening.pending_msgs == 1
    assert not (arrived and _was_refused(nats, "subscription", pattern)), (pattern, nats.errors)
    await listening.unsubscribe()
    await manager.close()
    return arrived


def _was_refused(nats: NatsHarness, what: str, subject: str) -> bool:
    violation = f'permissions violation for {what} to "{subject}"'
    return any(violation in str(error) for error in nats.errors)
