from __future__ import annotations

from importlib import metadata

import pytest
from nats.micro.service import SEMVER_REGEX

from agent_manager.protocol.release import release


def test_a_program_that_was_never_installed_has_a_version_that_micro_services_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert SEMVER_REGEX.match(release())
