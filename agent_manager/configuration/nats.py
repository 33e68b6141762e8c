"""How a program reaches the bus."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import SecretStr, model_validator

from agent_manager.configuration.kinds import FilePath, Text, listing, seconds, text, truth
from agent_manager.configuration.tree import Group, Setting
from agent_manager.documents.fields import unmet

Secret = Annotated[SecretStr, text()]


class NatsSettings(Group):
    """The bus, and who this program is there."""

    url: Annotated[tuple[str, ...], listing()] = ()
    """One server or several of a cluster: `nats://host:port`, `tls://host:port`."""
    context: Annotated[str, text("the name of a context of the nats CLI, or a path")] | None = None
    """A context of the `nats` tool that says all of this; what is set here beside it wins."""
    user: Text | None = None
    """User name, with `password`."""
    password: Annotated[Secret | None, Setting(secret=True)] = None
    """Its password."""
    token: Annotated[Secret | None, Setting(secret=True)] = None
    """A token, where the server wants one."""
    creds: FilePath | None = None
    """A credentials file (JWT and seed)."""
    nkey: FilePath | None = None
    """A file with an nkey seed."""
    tls_ca: FilePath | None = None
    """Certificates of the authorities that are trusted; the system's without it."""
    tls_cert: FilePath | None = None
    """The client's certificate, with `tls_key`."""
    tls_key: FilePath | None = None
    """The client certificate's private key."""
    tls_verify: Annotated[bool, truth()] = True
    """Whether the server's certificate must be trusted and name the host."""
    connect_timeout_s: Annotated[float, seconds(0.1, 600)] = 30.0
    """How long the start waits for a first connection before it says what is wrong and goes on trying."""

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        ways = {
            "user": self.user,
            "token": self.token,
            "creds": self.creds,
            "nkey": self.nkey,
        }
        used = [name for name, value in ways.items() if value is not None]
        if len(used) > 1:
            raise unmet(f"left out, since nats.{used[0]} says who this program is", field=used[1], value="given")
        pairs = (("user", "password"), ("tls_cert", "tls_key"))
        for one, other in (*pairs, *((other, one) for one, other in pairs)):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise unmet(f"given too where nats.{one} is", field=other, value=None)
        if (used or self.tls_ca or self.tls_cert) and not self.is_external:
            raise unmet(f"given (the server's address) where nats.{(*used, 'tls_ca')[0]} is", field="url", value=None)
        return self

    @property
    def is_external(self) -> bool:
        """Whether a server is named; otherwise the node runs one itself."""
        return bool(self.url) or self.context is not None
