"""Headers of requests on the bus."""

from __future__ import annotations

ACTOR = "Agent-Manager-Actor"
"""Who asked, for the audit trail. Believed on `agent.manager.api.…` only, where nobody but the API may publish."""
