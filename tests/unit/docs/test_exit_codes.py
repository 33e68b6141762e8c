"""Exit codes: one list for each program, explained, and what the units and the help say agrees with it."""

from __future__ import annotations

import re
import signal
from enum import Enum
from pathlib import Path

import pytest

from agent_manager import daemon
from agent_manager.cli import exit_codes
from agent_manager.cli.ctl import failures
from agent_manager.domain.exits import ExitReason
from agent_manager.launcher import exit_codes as launcher
from agent_manager.sdk import ending
from management_api import exit_codes as api
from tools.generate import meanings

ROOT = Path(__file__).parents[3]
PROGRAMS = (exit_codes.ExitCode, launcher.ExitCode, daemon.ExitCode, api.ExitCode, failures.ExitCode, ending.ExitCode)


@pytest.mark.parametrize("codes", [*PROGRAMS, ExitReason], ids=lambda codes: codes.__module__)
def test_every_code_is_explained(codes: type[Enum]) -> None:
    assert list(meanings(codes)) == [code.name for code in codes]


def test_codes_of_signals_are_those_that_shells_tell() -> None:
    assert exit_codes.ExitCode.INTERRUPTED.value == 128 + signal.SIGINT
    assert exit_codes.ExitCode.TERMINATED.value == 128 + signal.SIGTERM
    assert failures.ExitCode.INTERRUPTED.value == 128 + signal.SIGINT
    assert failures.ExitCode.CLOSED_PIPE.value == 128 + signal.SIGPIPE


def test_the_help_of_agentctl_says_what_the_page_says() -> None:
    said = meanings(failures.ExitCode)
    lines = [f"  {code.value}  {said[code.name][0].lower()}{said[code.name][1:-1]}" for code in failures.ExitCode]
    assert failures.EXPLAINED.splitlines()[2:] == lines


@pytest.mark.parametrize("unit", ["agent-manager.service", "management-api.service"])
def test_units_restart_always_and_give_no_code_a_meaning_as_the_page_says(unit: str) -> None:
    text = (ROOT / "deploy" / "systemd" / unit).read_text(encoding="utf-8")
    assert re.findall(r"^(?:Restart|\w+ExitStatus)=.*", text, re.MULTILINE) == ["Restart=always"]
