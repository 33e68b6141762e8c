"""How a program reaches the bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, SecretStr, model_validator

from agent_manager.configuration.addresses import shown_servers
from agent_manager.configuration.kinds import FilePath, SecretFilePath, Text, seconds, strings, text, truth
from agent_manager.configuration.tree import Group, Setting
from agent_manager.documents.fields import unmet
from agent_manager.nats_access.errors import AccessError
from agent_manager.nats_access.resolving import Resolved, Wanted, resolve
from agent_manager.nats_access.servers import parse_servers

_SERVERS = (
    "nats://host:port or tls://host:port, or a list of them (in a variable: separated by commas); one user for all, "
    "with /, @, :, ?, # and commas in it percent-encoded"
)


def _servers(value: Any) -> tuple[str, ...]:
    servers = strings(value)
    if servers is None:
        raise unmet(_SERVERS)
    try:
        if servers:
            parse_servers(",".join(servers), "nats.url")
    except AccessError:
        raise unmet(_SERVERS) from None
    return servers


Secret = Annotated[SecretStr, text()]


class NatsSettings(Group):
    """The bus, and who this program is there."""

    url: Annotated[tuple[str, ...], BeforeValidator(_servers), Setting(shown_as=shown_servers)] = ()
    """One server or several of a cluster: `nats://host:port`, `tls://host:port`."""
    context: Annotated[str, text("the name of a context of the nats CLI, or a path", r"(?!.*://)[^\x00\n]+")] | None = (
        None
    )
    """A context of the `nats` tool that says all of this; what is set here beside it wins."""
    user: Text | None = None
    """User name, with `password`."""
    password: Annotated[Secret | None, Setting(secret=True)] = None
    """Its password."""
    token: Annotated[Secret | None, Setting(secret=True)] = None
    """A token, where the server wants one."""
    creds: SecretFilePath | None = None
    """A credentials file (JWT and seed)."""
    nkey: SecretFilePath | None = None
    """A file with an nkey seed."""
    tls_ca: FilePath | None = None
    """Certificates of the authorities that are trusted; the system's without it."""
    tls_cert: FilePath | None = None
    """The client's certificate, with `tls_key`."""
    tls_key: SecretFilePath | None = None
    """The client certificate's private key."""
    tls_verify: Annotated[bool, truth()] = True
    """Whether the server's certificate must be trusted and name the host."""
    tls_first: Annotated[bool, truth()] = False
    """Whether the handshake comes first, for a server with `handshake_first`."""
    connect_timeout_s: Annotated[float, seconds(0.1, 600)] = 2.0
    """How long one attempt with one server may take; the next server, and later all again, are tried after it."""

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
            raise unmet(f"left out, since nats.{used[0]} says who this program is", field=used[1])
        if used and self.url and parse_servers(",".join(self.url), "nats.url")[1] is not None:
            raise unmet("left out, since the address in nats.url says who this program is", field=used[0])
        pairs = (("user", "password"), ("tls_cert", "tls_key"))
        for one, other in (*pairs, *((other, one) for one, other in pairs)):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise unmet(f"given too where nats.{one} is", field=other, because=one)
        of_a_server = [*used, *(name for name in ("tls_ca", "tls_cert") if getattr(self, name) is not None)]
        if of_a_server and not self.is_external:
            name = of_a_server[0]
            raise unmet(f"given (the server's address) where nats.{name} is", field="url", because=name)
        return self

    def access(self, environ: Mapping[str, str]) -> Resolved:
        """How this program reaches the bus; `environ` tells where contexts are.

        Raises AccessError: what the context says cannot be used, or two identities meet in address and settings.
        """
        return resolve(
            Wanted(
                url=",".join(self.url) or None,
                user=self.user,
                password=_open(self.password),
                token=_open(self.token),
                creds=self.creds,
                nkey=self.nkey,
                context=self.context,
                tls_ca=self.tls_ca,
                tls_cert=self.tls_cert,
                tls_key=self.tls_key,
                tls_verify=self.tls_verify,
                tls_first=self.tls_first or None,
            ),
            called=lambda name: f"nats.{name}",
            environ=environ,
        )

    @property
    def is_external(self) -> bool:
        """Whether a server is named; otherwise the node runs one itself."""
        return bool(self.url) or self.context is not None


def _open(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
