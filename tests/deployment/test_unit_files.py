"""The unit files are correct in systemd's own judgement, and as closed as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.deployment import (
    LAUNCHER_STOP_MAX_S,
    PAGE,
    SYSTEMD,
    assignments,
    install_units,
    needs_systemd,
    run,
    values,
)

UNITS = sorted(SYSTEMD.glob("*.service"))
NODE = SYSTEMD / "agent-manager.service"


@needs_systemd
def test_systemd_has_nothing_to_say_about_them(tmp_path: Path) -> None:
    units = install_units(tmp_path)
    assert [unit.name for unit in units] == ["agent-manager.service", "management-api.service"]
    assert run("systemd-analyze", "verify", *units) == ""


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_exposure_is_what_the_file_and_the_page_say(unit: Path) -> None:
    said = re.findall(r"^# exposure: (\d+\.\d) ", unit.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(said) == 1
    report = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    measured = re.findall(r"Overall exposure level for \S+: (\d+\.\d)", report)
    # A newer systemd knows more ways to be exposed; it fails here when that makes the figure worse.
    assert float(measured[0]) <= float(said[0])
    assert f"| `{unit.name}` | {said[0]} |" in PAGE.read_text(encoding="utf-8")


def test_systemd_waits_longer_for_the_end_than_the_launcher_takes() -> None:
    assert [int(value) for value in values(assignments(NODE), "TimeoutStopSec")] == [120]
    assert LAUNCHER_STOP_MAX_S < 120


@pytest.mark.parametrize("unit", sorted(SYSTEMD.glob("*.service.d/*.conf")), ids=lambda path: path.parent.name)
def test_a_credential_that_is_named_is_loaded(unit: Path) -> None:
    pairs = list(assignments(unit))
    loaded = {value.split(":")[0] for value in values(pairs, "LoadCredential")}
    named = {value.split("%d/")[1] for value in values(pairs, "Environment")}
    assert named == loaded != set()
