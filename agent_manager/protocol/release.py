"""The release a program belongs to, as it tells others."""

from __future__ import annotations

from importlib import metadata

UNINSTALLED = "0.0.0+uninstalled"
"""What a program says that runs from a source tree which was never installed: a semantic version (ADR-32)."""


def release() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version("agent-manager")
    except metadata.PackageNotFoundError:
        return UNINSTALLED
