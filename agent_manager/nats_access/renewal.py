"""When credentials in a file are replaced: noticing it in time, and saying when it does not happen."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from agent_manager.nats_access.credentials_file import Credentials
from agent_manager.nats_access.errors import CredentialsError
from agent_manager.nats_access.identity import Identity
from agent_manager.nats_access.notices import Notice, Tell

LOOKS_PER_LIFETIME = 50
"""How often a file is looked at from the time on at which it should be renewed; spread, so that a fleet is too."""
LONGEST_PAUSE_S = 600.0
"""A host may have been asleep meanwhile."""
LATE = 0.75
"""After this part of the lifetime, credentials that have not been renewed are worth a warning."""


def present(identity: Identity) -> Credentials | None:
    """What the identity's file holds, None when there is none or it cannot be read now."""
    try:
        return identity.credentials()
    except (CredentialsError, OSError):
        return None


def expired(identity: Identity) -> bool:
    """Whether its credentials have expired, by this host's clock."""
    credentials = present(identity)
    return credentials is not None and credentials.expired(time.time())


async def renewed(identity: Identity, used: Credentials | None, tell: Tell) -> None:
    """Return when the identity's file holds other credentials than those `used`; never for what does not expire."""
    if used is None or used.expires_at is None:
        await asyncio.Event().wait()
        return
    lifetime_s = used.expires_at - used.issued_at
    while True:
        now = time.time()
        spread_s = random.uniform(0.5, 1.5) * lifetime_s / LOOKS_PER_LIFETIME
        await asyncio.sleep(min(max(used.issued_at + lifetime_s / 2 - now, spread_s), LONGEST_PAUSE_S))
        held = present(identity)
        if held is not None and held.token != used.token:
            return
        if time.time() > used.issued_at + LATE * lifetime_s:
            tell(_late(identity, used.expires_at))


def _late(identity: Identity, expires_at: float) -> Notice:
    expiry = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(expires_at))
    return Notice(
        event="bus_credentials_not_renewed",
        level=logging.WARNING,
        text=f"{identity.description} has not been renewed and expires at {expiry}; whoever issued it must renew it",
    )
