"""Commands a manager or an operator sends to an agent on `agent.{id}.command`, answered by the SDK."""

from __future__ import annotations

PING = "ping"
HEALTH = "health"
DRAIN = "drain"
PAUSE = "pause"
RESUME = "resume"
CONFIG = "config"

BUILT_IN = frozenset({PING, HEALTH, DRAIN, PAUSE, RESUME, CONFIG})
"""Answered by every agent; an agent's own handlers have other names."""
