"""The bus: whether a manager of this node can connect, and what server, account and user are found to be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import nats.errors

from agent_manager.adapters.nats.bus_check import needs_of_manager
from agent_manager.adapters.nats.embedded import NatsFiles
from agent_manager.doctor.findings import Finding, Patient, Severity, fault, ok, warning
from agent_manager.doctor.node import state_of
from agent_manager.nats_access.access import Access
from agent_manager.nats_access.dialing import Caller, NotConnectedError, dial, dispose
from agent_manager.nats_access.errors import AccessError
from agent_manager.nats_access.identity import CredentialsIdentity
from agent_manager.nats_access.inspection import Weight, inspect_bus
from agent_manager.nats_access.pace import Pace
from agent_manager.protocol import subjects

_SEVERITY = {Weight.ERROR: Severity.FAULT, Weight.WARNING: Severity.WARNING, Weight.NOTE: Severity.WARNING}
_PAGE = "docs/nats.md has the configuration of server, account and user"


async def bus(patient: Patient) -> AsyncIterator[Finding]:
    """Connect as the manager does, and look around. The embedded server is looked at while the node runs."""
    nats_settings = patient.settings.nats
    try:
        access = nats_settings.access(patient.environ).access if nats_settings.is_external else _embedded(patient)
    except AccessError as error:
        yield fault("NATS", error.message, "mend it in the settings (nats.…), or in the context they name")
        return
    if access is None:
        return
    if nats_settings.is_external and nats_settings.signing_key is None:
        yield warning(
            "NATS",
            "agents connect with the manager's own credentials: each can speak as another one, or as the manager",
            "set nats.signing_key to give every launch a user of its own",
        )
    caller = Caller(name="agent-manager doctor", inbox_prefix=subjects.MANAGER_INBOX_PREFIX, reconnects=False)
    try:
        client = await dial(access, caller, _Silent(), Pace(connect_timeout_s=nats_settings.connect_timeout_s))
    except NotConnectedError as error:
        for trouble in error.troubles:
            yield fault("NATS", str(trouble), f"see the message; {_PAGE}")
        return
    try:
        found = await inspect_bus(client, needs_of_manager(embedded=not nats_settings.is_external))
    except (nats.errors.Error, OSError) as error:
        yield fault("NATS", f"the connection was lost while it was looked at: {error}", "run doctor again")
        return
    finally:
        await dispose(client)
    for each in found:
        yield Finding(subject="NATS", severity=_SEVERITY[each.weight], message=each.text, remedy=_PAGE)
    if not any(each.weight is Weight.ERROR for each in found):
        yield ok("NATS", f"connected to {access.where}")


def _embedded(patient: Patient) -> Access | None:
    if not patient.is_running:
        return None
    data_dir = patient.settings.data_dir
    state = state_of(data_dir)
    if state is None or "nats_url" not in state:
        # Not up yet, which is said elsewhere.
        return None
    identity = CredentialsIdentity(NatsFiles(data_dir=data_dir).manager_credentials)
    return Access(servers=(state["nats_url"],), identity=identity)


class _Silent:
    """Of a connection that is looked at for a moment nothing more is expected."""

    async def failed(self, error: Exception) -> None:
        """Told by what does not answer then."""

    async def disconnected(self) -> None:
        """As above."""

    async def reconnected(self) -> None:
        """Does not happen."""

    async def closed(self) -> None:
        """As above."""

    async def lame_duck(self) -> None:
        """The manager sees to that."""
