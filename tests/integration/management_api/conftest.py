"""A bus, a fake manager on it and the API between them and the test."""

from __future__ import annotations

from tests.harness.api_fixtures import api, manager, nats

__all__ = ["api", "manager", "nats"]
