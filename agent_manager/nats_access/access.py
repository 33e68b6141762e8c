"""How a program reaches NATS, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_manager.nats_access.identity import Identity, Nobody
from agent_manager.nats_access.tls import Tls


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """`servers` are `nats://host:port` or `tls://host:port`, without users; one of them suffices to find a cluster."""

    servers: tuple[str, ...]
    identity: Identity = field(default_factory=Nobody)
    tls: Tls = field(default_factory=Tls)

    @property
    def where(self) -> str:
        """The servers, for people."""
        return ", ".join(self.servers)

    @property
    def description(self) -> str:
        """For people, without secrets."""
        unsafe = "" if self.tls.verify else ", the server's certificate NOT verified"
        return f"{self.where} as {self.identity.description}{unsafe}"

    @property
    def tls_wanted(self) -> bool:
        """Whether an unprotected connection is refused even where the server would take it."""
        return self.tls.wanted or any(server.startswith("tls://") for server in self.servers)

    def options(self) -> dict[str, Any]:
        """Arguments of nats-py's `connect` for identity and protection; files are read now.

        Raises CredentialsError, TlsError, OSError.
        """
        options = self.identity.options()
        if self.tls_wanted or self.tls != Tls():
            options["tls"] = self.tls.context()
            options["tls_handshake_first"] = self.tls.first
        return options

    def values(self) -> Mapping[str, str]:
        """Everything by the names of `resolving.Wanted`, secrets included, as another program is told it."""
        return {"url": ",".join(self.servers), **self.identity.values(), **self.tls.values()}
