"""A program as a NATS micro service (ADR-32): what it answers to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`.

The messages are those of `nats.micro`. Its `Service` is not used: it answers to whatever reply subject a request names,
with the rights of the program that answers, hides that subject from endpoints, and cannot be left without losing what
is on its way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from nats.micro.service import (
    SEMVER_REGEX,
    EndpointInfo,
    EndpointStats,
    ServiceInfo,
    ServicePing,
    ServiceStats,
    ServiceVerb,
    control_subject,
)


class DescribedEndpoint(Protocol):
    """One subject the program answers on."""

    @property
    def info(self) -> EndpointInfo:
        """For `INFO`."""
        ...

    @property
    def stats(self) -> EndpointStats:
        """For `STATS`."""
        ...


class DiscoverableService:
    """What is answered of one program from now on. A `version` that is no semantic one is told as `0.0.0`."""

    def __init__(
        self,
        *,
        name: str,
        service_id: str,
        version: str,
        metadata: Mapping[str, str],
        endpoints: Sequence[DescribedEndpoint],
        description: str = "",
    ) -> None:
        self._identity: dict[str, Any] = {
            "id": service_id,
            "name": name,
            "version": version if SEMVER_REGEX.match(version) else "0.0.0",
            "metadata": dict(metadata),
        }
        self._description = description
        self._endpoints = endpoints
        self._started = datetime.now(UTC)

    def answers(self) -> dict[str, Callable[[], bytes]]:
        """By subject, what makes the answer: to everybody who asks, to who asks for the name, and for this one."""
        verbs = {ServiceVerb.PING: self._ping, ServiceVerb.INFO: self._info, ServiceVerb.STATS: self._stats}
        name, service_id = self._identity["name"], self._identity["id"]
        return {
            control_subject(verb, *address): answer
            for verb, answer in verbs.items()
            for address in ((None, None), (name, None), (name, service_id))
        }

    def _ping(self) -> bytes:
        return _encoded(ServicePing(**self._identity))

    def _info(self) -> bytes:
        endpoints = [each.info for each in self._endpoints]
        return _encoded(ServiceInfo(**self._identity, description=self._description, endpoints=endpoints))

    def _stats(self) -> bytes:
        endpoints = [each.stats for each in self._endpoints]
        return _encoded(ServiceStats(**self._identity, started=self._started, endpoints=endpoints))


def _encoded(message: ServicePing | ServiceInfo | ServiceStats) -> bytes:
    return json.dumps(message.to_dict()).encode()
