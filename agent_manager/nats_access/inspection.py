"""What a server, an account and a user are found to be, once connected: fit for what is to be done, or why not.

Findings are values, for a log at start and for a command that examines an installation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import AccountInfo, Tier

USER_INFO = "$SYS.REQ.USER.INFO"
"""Tells every user its own permissions (nats-server 2.10)."""


class Weight(StrEnum):
    """What follows from a finding."""

    ERROR = "error"
    """Something will not work."""
    WARNING = "warning"
    """It works, with less than it could."""
    NOTE = "note"
    """Worth knowing; cannot be told from here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """`code` is stable, and `bus_<code>` its event in the log; `text` says what it means and how to mend it."""

    code: str
    weight: Weight
    text: str

    @property
    def event(self) -> str:
        """Its name in the log."""
        return f"bus_{self.code}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What is wanted of a bus. Sizes are bytes; `publish` and `subscribe` are patterns of subjects.

    `payload_wanted` is what everything fits into, `payload_least` what little fits into.
    """

    server: tuple[int, int, int] = (2, 11, 0)
    api_level: int = 1
    payload_wanted: int = 8 * 1024 * 1024
    payload_least: int = 64 * 1024
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    replies: bool = False
    """Whether it answers on inboxes of others, whatever their names."""
    known_durable: bool = False
    """Whether the server is known to write to disk before it acknowledges."""
    limited: str = "larger messages are refused"
    """What a smaller `max_payload` limits, for people."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """Permissions for one direction; an empty `allow` allows everything."""

    allow: Sequence[str] = field(default_factory=tuple)
    deny: Sequence[str] = field(default_factory=tuple)

    def admits(self, pattern: str) -> bool:
        """Whether every subject of `pattern` may be used."""
        allowed = not self.allow or any(covers(each, pattern) for each in self.allow)
        return allowed and not any(covers(each, pattern) for each in self.deny)


async def inspect_bus(client: Client, needs: Needs, *, timeout_s: float = 5.0) -> tuple[Finding, ...]:
    """What is found on a connected client; no finding is what is hoped for. Publishes nothing but questions.

    Raises what nats-py raises when the connection is lost meanwhile.
    """
    return (
        *_of_server(client, needs),
        *_of_payload(client.max_payload, needs),
        *await _of_permissions(client, needs, timeout_s),
        *await _of_jetstream(client, needs, timeout_s),
        *_of_durability(needs),
    )


def covers(wide: str, narrow: str) -> bool:
    """Whether every subject that matches `narrow` matches `wide` (`*` one token, `>` one or more)."""
    left, right = wide.split("."), narrow.split(".")
    for position, token in enumerate(left):
        if token == ">":
            return len(right) > position
        if position >= len(right) or right[position] == ">":
            return False
        if token not in ("*", right[position]):
            return False
    return len(left) == len(right)


def _of_server(client: Client, needs: Needs) -> tuple[Finding, ...]:
    version = client.connected_server_version
    if (version.major, version.minor, version.patch) >= needs.server:
        return ()
    wanted, found = ".".join(map(str, needs.server)), f"{version.major}.{version.minor}.{version.patch}"
    return (
        Finding(
            code="server_too_old",
            weight=Weight.ERROR,
            text=f"the NATS server is {found} and {wanted} is needed; upgrade it",
        ),
    )


def _of_payload(max_payload: int, needs: Needs) -> tuple[Finding, ...]:
    if max_payload >= needs.payload_wanted:
        return ()
    return (
        Finding(
            code="payload_small",
            weight=Weight.ERROR if max_payload < needs.payload_least else Weight.WARNING,
            text=f"max_payload of the server is {max_payload:,} bytes, {needs.payload_wanted:,} are wanted "
            f"(at least {needs.payload_least:,}); a body may take half of it: {needs.limited}. "
            f"Set max_payload: {needs.payload_wanted} in the server's configuration",
        ),
    )


async def _of_permissions(client: Client, needs: Needs, timeout_s: float) -> tuple[Finding, ...]:
    try:
        answer = json.loads((await client.request(USER_INFO, b"", timeout=timeout_s)).data)
        permissions = answer["data"].get("permissions") or {}
    except (nats.errors.NoRespondersError, TimeoutError, ValueError, KeyError, AttributeError):
        return (
            Finding(
                code="permissions_unknown",
                weight=Weight.NOTE,
                text=f"the server does not tell what this user may do ({USER_INFO}); what is missing will show when "
                "it is used",
            ),
        )
    missing = [
        *(f"publish {each}" for each in needs.publish if not _rules(permissions, "publish").admits(each)),
        *(f"subscribe {each}" for each in needs.subscribe if not _rules(permissions, "subscribe").admits(each)),
    ]
    if needs.replies and not permissions.get("responses") and not _rules(permissions, "publish").admits(">"):
        missing.append("allow_responses")
    if not missing:
        return ()
    return (
        Finding(
            code="permissions_missing",
            weight=Weight.ERROR,
            text=f"this user lacks permissions: {', '.join(missing)}; see docs/nats.md for the whole list",
        ),
    )


def _rules(permissions: Mapping[str, Any], direction: str) -> _Rules:
    rules = permissions.get(direction) or {}
    return _Rules(tuple(rules.get("allow") or ()), tuple(rules.get("deny") or ()))


async def _of_jetstream(client: Client, needs: Needs, timeout_s: float) -> tuple[Finding, ...]:
    try:
        account = await client.jetstream(timeout=timeout_s).account_info()
    except nats.js.errors.ServiceUnavailableError:
        return _no_jetstream("jetstream_off", "JetStream is off on the server; enable it (jetstream { store_dir: … })")
    except nats.js.errors.APIError as error:
        return _no_jetstream("jetstream_off", f"JetStream is off for this account ({error.description}); enable it")
    except TimeoutError:
        return _no_jetstream(
            "jetstream_silent",
            "JetStream does not answer: the user may lack the permission to publish $JS.API.>, or a cluster has no "
            "leader",
        )
    return (*_of_level(account, needs), *_of_storage(account))


def _no_jetstream(code: str, text: str) -> tuple[Finding, ...]:
    return (Finding(code=code, weight=Weight.ERROR, text=text),)


def _of_level(account: AccountInfo, needs: Needs) -> tuple[Finding, ...]:
    level = account.api.level or 0
    if level >= needs.api_level:
        return ()
    return (
        Finding(
            code="jetstream_too_old",
            weight=Weight.ERROR,
            text=f"JetStream's API level is {level} and {needs.api_level} is needed; upgrade every server",
        ),
    )


def _of_storage(account: AccountInfo) -> tuple[Finding, ...]:
    # With tiers, limits are kept for each number of replicas.
    tiers: list[Tier | AccountInfo] = list((account.tiers or {}).values()) or [account]
    if any(tier.limits.max_storage < 0 or tier.storage < tier.limits.max_storage for tier in tiers):
        return ()
    limit = max(tier.limits.max_storage for tier in tiers)
    return (
        Finding(
            code="jetstream_no_storage",
            weight=Weight.ERROR,
            text=f"this account has no room left on disk for JetStream (limit {limit:,} bytes); raise its max_store",
        ),
    )


def _of_durability(needs: Needs) -> tuple[Finding, ...]:
    if needs.known_durable:
        return ()
    return (
        Finding(
            code="durability_unknown",
            weight=Weight.NOTE,
            text="whether the server writes to disk before it acknowledges cannot be seen from here; without "
            "`sync_interval: always` in its jetstream block a loss of power takes up to two minutes of results, "
            "unless they are replicated to servers elsewhere",
        ),
    )
