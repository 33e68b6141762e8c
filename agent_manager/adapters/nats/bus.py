"""The bus as a manager is told of it: how it connects, how its launches do, and as whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent_manager.adapters.nats.credentials import LaunchIdentities, SharedIdentities
from agent_manager.adapters.nats.embedded import NatsFiles
from agent_manager.adapters.nats.keyring import load_issuer
from agent_manager.nats_access.access import Access
from agent_manager.nats_access.environment import variables_of
from agent_manager.nats_access.identity import CredentialsIdentity, Nobody
from agent_manager.nats_access.resolving import Resolved
from agent_manager.ports.clock import Clock
from agent_manager.ports.identities import Identities

PLACE_FOR_OTHERS = Path("/run/agent-manager-launches")
"""Credentials of launches that run as other users, below it: they reach nothing in the data directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bus:
    """`variables` tell a launch how to connect; with `shared` identities they contain the manager's own.

    `embedded`: it is the node's own server. `remarks` say what of a context could not be honoured.
    """

    access: Access
    identities: Identities
    variables: Mapping[str, str]
    shared: bool
    embedded: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signing:
    """A file with the seed of an account or of a key that signs for it, then with the account's public key."""

    key: Path
    account: str | None
    lifetime_s: float


def bus_of(resolved: Resolved, signing: Signing | None, *, data_dir: Path, node_id: str, clock: Clock) -> Bus:
    """The bus of a manager that connects in this way. Raises KeyringError for a signing key that is none."""
    files, access = NatsFiles(data_dir=data_dir), resolved.access
    embedded = access.identity == CredentialsIdentity(files.manager_credentials)
    if signing is None:
        identities: Identities = SharedIdentities()
    else:
        identities = LaunchIdentities(
            directory=files.launch_credentials,
            directory_of_others=PLACE_FOR_OTHERS / node_id,
            issuer=load_issuer(signing.key, signing.account),
            node_id=node_id,
            clock=clock,
            lifetime_s=signing.lifetime_s,
            programs=files.programs if embedded else (),
        )
    of_launches = access if signing is None else replace(access, identity=Nobody())
    return Bus(
        access=access,
        identities=identities,
        variables=variables_of(of_launches),
        shared=signing is None,
        embedded=embedded,
        remarks=resolved.remarks,
    )
