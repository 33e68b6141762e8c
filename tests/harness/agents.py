"""Packages for tests: manifests and code of agents that behave in one particular way."""

from __future__ import annotations

from pathlib import Path

from tests.harness.node import write_package

SDK_AGENT = "from agent_manager.sdk import Agent\n\nAgent().run()\n"

QUICK_HEARTBEAT = "heartbeat: {interval_s: 0.3, timeout_s: 2}\n"

IGNORES_SIGTERM = """
import signal, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready to be stubborn", flush=True)
threading.Event().wait()
"""

SLEEPS = "import threading\nthreading.Event().wait()\n"

PLAIN = "heartbeat: none\n"


def sdk_agent(root: Path, name: str, *, extra: str = "") -> Path:
    """An agent that does nothing but live."""
    return write_package(root, name, f"version: 1.0.0\nentrypoint: agent.py\n{extra}", SDK_AGENT)


def plain_python(root: Path, name: str, code: str, *, extra: str = "") -> Path:
    """A Python file that knows nothing of agents and sends no heartbeat."""
    return write_package(root, name, f"version: 1.0.0\nentrypoint: agent.py\n{PLAIN}{extra}", code)
