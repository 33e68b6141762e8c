"""What the files of `deploy/` say of settings is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.deployment import DEPLOY, REPOSITORY

_VARIABLE = re.compile(r"\b((?:AGENT_MANAGER|MANAGEMENT_API)_[A-Z_]+[A-Z])\b")
_FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix not in (".json", ".md"))
_WITH_SETTINGS = [path for path in _FILES if _VARIABLE.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", _WITH_SETTINGS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_that_is_given_exists(path: Path) -> None:
    reference = (REPOSITORY / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    known = set(_VARIABLE.findall(reference))
    given = set(_VARIABLE.findall(path.read_text(encoding="utf-8")))
    # The reference says once for each secret that `_FILE` may be appended.
    assert {name.removesuffix("_FILE") for name in given} <= known


def test_there_are_settings_to_look_at() -> None:
    assert len(_WITH_SETTINGS) >= 5
