"""The environment an instance is started with (R16), written by the manager and read by the SDK.

How it reaches NATS is told beside it: `agent_manager.nats_access.environment`.
"""

from __future__ import annotations

AGENT_ID = "AGENT_ID"
AGENT_NAME = "AGENT_NAME"
AGENT_TYPE = "AGENT_TYPE"
AGENT_VERSION = "AGENT_VERSION"
AGENT_INSTANCE_ID = "AGENT_INSTANCE_ID"
AGENT_LAUNCH_ID = "AGENT_LAUNCH_ID"
AGENT_NODE_ID = "AGENT_NODE_ID"
AGENT_INCARNATION = "AGENT_INCARNATION"
AGENT_CONFIG = "AGENT_CONFIG"
"""The agent's configuration as a JSON object."""
AGENT_HEARTBEAT_INTERVAL_S = "AGENT_HEARTBEAT_INTERVAL_S"
"""Seconds between two heartbeats; absent when none are expected."""
