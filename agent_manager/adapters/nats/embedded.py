"""The embedded NATS server: its keys, credentials and configuration, prepared for whoever starts it.

It runs in operator mode from the first day, so that every connection has an identity, and JetStream acknowledges a
write once it is on disk. Configuration: https://docs.nats.io/running-a-nats-service/configuration
"""

from __future__ import annotations

import errno
import json
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_manager.adapters.nats.credentials import Program, write_program_user
from agent_manager.adapters.nats.jwt import account_jwt, operator_jwt
from agent_manager.adapters.nats.keyring import Keyring, load_or_create_keyring, seed_file
from agent_manager.adapters.nats.private_files import make_private_directory, write_private
from agent_manager.domain.errors import ConflictError, UnavailableError
from agent_manager.protocol.permissions import OF_API, OF_MANAGER, OF_SERVICE

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""The largest message the embedded server carries, headers included."""

_SERVER_NAME = "agent-manager"
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses to listen on that nobody can connect to, and what this host connects to instead."""


class ServerMissingError(UnavailableError):
    """There is no nats-server program on this host."""

    retryable = False


class ListenError(ConflictError):
    """The server cannot listen where it was told to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NatsFiles:
    """Where the files of an embedded server are, by data directory."""

    data_dir: Path

    @property
    def directory(self) -> Path:
        """Everything but the credentials of launches."""
        return self.data_dir / "nats"

    @property
    def keys(self) -> Path:
        """The keyring."""
        return self.directory / "keys"

    @property
    def signing_key(self) -> Path:
        """The seed of the key that signs the users of launches."""
        return seed_file(self.keys, "account-signing")

    @property
    def configuration(self) -> Path:
        """What nats-server is started with; written anew at each start."""
        return self.directory / "server.conf"

    @property
    def manager_credentials(self) -> Path:
        """For the manager, and for administering streams: the whole account."""
        return self.directory / "manager.creds"

    @property
    def api_credentials(self) -> Path:
        """For the management API."""
        return self.directory / "api.creds"

    @property
    def service_credentials(self) -> Path:
        """For operators' tools and other services."""
        return self.directory / "service.creds"

    @property
    def programs(self) -> tuple[Program, ...]:
        """Who has a user of its own besides the launches."""
        return (
            Program("manager", self.manager_credentials, OF_MANAGER),
            Program("api", self.api_credentials, OF_API),
            Program("service", self.service_credentials, OF_SERVICE),
        )

    @property
    def launch_credentials(self) -> Path:
        """The directory of the credentials of launches."""
        return self.data_dir / "run" / "creds"


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedNats:
    """A server that is ready to be started: `argv` runs it in the foreground, logging to standard error.

    SIGTERM stops it; it is reachable at `url` once it accepts connections.
    """

    argv: tuple[str, ...]
    host: str
    port: int
    url: str
    keyring: Keyring
    files: NatsFiles


def prepare(*, data_dir: Path, host: str, port: int, now: float, lifetime_s: float | None = None) -> EmbeddedNats:
    """Make or read the keys, give manager, API and services new credentials, and write the server's configuration.

    Starts nothing. `now` is Unix seconds; the credentials expire after `lifetime_s`. Raises ServerMissingError,
    ListenError, KeyringError, and OSError when `data_dir` cannot be written.
    """
    program = find_server()
    check_port_free(host, port)
    files = NatsFiles(data_dir=data_dir)
    keyring = load_or_create_keyring(files.keys)
    make_private_directory(files.launch_credentials)
    for each in files.programs:
        write_program_user(each, keyring.issuer, now, lifetime_s)
    configuration = _configuration(host, port, keyring, files.directory / "jetstream", now)
    # The server's format is a superset of JSON, which quotes every path correctly.
    write_private(files.configuration, json.dumps(configuration, indent=2, ensure_ascii=False) + "\n")
    return EmbeddedNats(
        argv=(str(program), "--config", str(files.configuration)),
        host=host,
        port=port,
        url=f"nats://{_bracketed(_EVERY_ADDRESS.get(host, host))}:{port}",
        keyring=keyring,
        files=files,
    )


def find_server() -> Path:
    """The nats-server program: next to this Python, where the extra installs it, or on the PATH.

    Raises ServerMissingError saying how to get it.
    """
    beside = Path(sys.executable).parent
    found = shutil.which("nats-server", path=str(beside)) or shutil.which("nats-server")
    if found is None:
        raise ServerMissingError(
            f"the program nats-server is neither in {beside} nor on the PATH. Install it with "
            "`pip install 'agent-manager[embedded]'`"
        )
    return Path(found)


def free_port(host: str) -> int:
    """A TCP port on which nobody listens now. Raises OSError when `host` is not an address of this machine."""
    with _listening_socket(host) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def check_port_free(
    host: str, port: int, *, listener: str = "the embedded NATS server", flag: str = "--nats-port"
) -> None:
    """Do nothing when `listener` could listen there; otherwise raise ListenError naming it, the reason and `flag`."""
    try:
        with _listening_socket(host) as probe:
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "another program does. Stop it, or" if taken else f"{error}. Check the address, and"
        raise ListenError(
            f"{listener} cannot listen on {_bracketed(host)}:{port}: {reason} choose another port with {flag}"
        ) from error


def _listening_socket(host: str) -> socket.socket:
    """A socket with the options that nats-server listens with: connections still closing do not count as taken."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listening


def _configuration(host: str, port: int, keyring: Keyring, store_dir: Path, now: float) -> dict[str, Any]:
    return {
        "server_name": _SERVER_NAME,
        "host": host,
        "port": port,
        "max_payload": MAX_PAYLOAD_BYTES,
        # A client that is gone without a word is noticed after two unanswered pings.
        "ping_interval": "10s",
        # Many agents that start at once sign their nonces slowly on a small machine.
        "authorization": {"timeout": 10},
        "jetstream": {"store_dir": str(store_dir), "sync_interval": "always"},
        **_trust(keyring, now),
    }


def _trust(keyring: Keyring, now: float) -> dict[str, Any]:
    system = keyring.system_account.public
    return {
        "operator": operator_jwt(name="agent-manager", operator=keyring.operator, system_account=system, issued_at=now),
        "system_account": system,
        "resolver": "MEMORY",
        "resolver_preload": {
            system: account_jwt(name="system", account=system, operator=keyring.operator, issued_at=now),
            keyring.account.public: account_jwt(
                name="agent-manager",
                account=keyring.account.public,
                operator=keyring.operator,
                signing_keys=(keyring.account_signing.public,),
                jetstream=True,
                issued_at=now,
            ),
        },
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
