"""How a connection is protected."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_manager.nats_access.errors import TlsError


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """`ca` signs the server (default: the system's), `certificate` and `key` are this program's own.

    `verify` False takes any server for the right one. `first`: the handshake comes before the server's first word, as
    a server with `handshake_first` wants it.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True
    first: bool = False

    @property
    def wanted(self) -> bool:
        """Whether an unprotected connection is refused even where the server would take it."""
        return self.first or self.ca is not None or self.certificate is not None

    def context(self) -> ssl.SSLContext:
        """For the handshake. Files are read now. Raises TlsError naming the one that cannot be used."""
        context = ssl.create_default_context()
        if self.ca is not None:
            context = self._trusting(self.ca)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ValueError) as error:
                raise TlsError(
                    f"the client certificate {self.certificate} with the key {self.key} cannot be used: {error}"
                ) from error
        return context

    def values(self) -> Mapping[str, str]:
        """What differs from the defaults, by the names of `resolving.Wanted`."""
        paths = {"tls_ca": self.ca, "tls_cert": self.certificate, "tls_key": self.key}
        flags = {"tls_verify": "false"} if not self.verify else {}
        first = {"tls_first": "true"} if self.first else {}
        return {**{name: str(path) for name, path in paths.items() if path is not None}, **flags, **first}

    def _trusting(self, ca: Path) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=ca)
        except (OSError, ValueError) as error:
            raise TlsError(f"the CA file {ca} cannot be used: {error}") from error
