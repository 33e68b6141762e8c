"""The Dockerfile is clean in hadolint's judgement, takes only what it names, and holds no secret."""

from __future__ import annotations

import re

from tests.harness.deployment import DEPLOY, REPOSITORY, installed, run
from tests.harness.machine import UID, dockerfile, instructions

_SECRET = re.compile(r"pass|secret|token|seed|creds|key", re.IGNORECASE)


def test_hadolint_has_nothing_to_say() -> None:
    assert run(installed("hadolint"), "--failure-threshold", "style", DEPLOY / "Dockerfile") == ""


def test_both_targets_run_as_nobody_in_particular_with_the_program_as_pid_1() -> None:
    assert instructions("base", "USER") == [f"{UID}:{UID}"]
    assert instructions("base", "STOPSIGNAL") == ["SIGTERM"]
    for target in ("node", "api"):
        assert [each.name for each in dockerfile() if each.stage == target].count("HEALTHCHECK") == 1
        # A shell between engine and program would take the signals.
        assert all(rest.startswith("[") for name in ("ENTRYPOINT", "CMD") for rest in instructions(target, name))
        assert not instructions(target, "USER")


def test_no_secret_is_part_of_the_image() -> None:
    assert not [each for each in dockerfile() if each.name in ("ENV", "ARG") and _SECRET.search(each.rest)]


def test_the_engine_is_sent_what_is_copied_and_nothing_else() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    let_in = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    copied = {source for rest in instructions("build", "COPY") for source in rest.split()[:-1]}
    assert copied == let_in


def test_what_is_installed_is_pinned() -> None:
    assert "PIP_CONSTRAINT=/src/constraints.txt" in instructions("build", "ENV")
    assert all((REPOSITORY / source).exists() for source in ("constraints.txt", "pyproject.toml"))
