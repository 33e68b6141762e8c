"""Specifications that were read before are not parsed anew, and do not pile up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agent_manager.adapters.codec import SPEC
from agent_manager.adapters.sql import known_specs
from agent_manager.adapters.sql.known_specs import KnownSpecs
from agent_manager.domain.specification import AgentSpec
from tests.harness.domain import SPEC as OLD

NEW = replace(OLD, version="9.9.9")


def text(spec: AgentSpec) -> str:
    return json.dumps(SPEC.encode(spec))


def test_what_was_read_before_is_the_same_and_what_has_changed_is_read() -> None:
    known = KnownSpecs()
    first = known.read("node", "echo", text(OLD))
    assert first == OLD
    assert known.read("node", "echo", text(OLD)) is first
    assert known.read("node", "echo", text(NEW)) == NEW
    assert known.read("elsewhere", "echo", text(OLD)) == OLD


def test_of_each_package_one_is_kept_and_of_packages_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_specs, "REMEMBERED", 3)
    known = KnownSpecs()
    first = known.read("node", "echo", text(OLD))
    for spec in (NEW, OLD):
        known.read("node", "echo", text(spec))
    assert known.read("node", "echo", text(OLD)) is not first
    kept = known.read("node", "echo", text(OLD))
    for name in ("b", "c"):
        known.read("node", name, text(OLD))
    assert known.read("node", "echo", text(OLD)) is kept
    known.read("node", "d", text(OLD))
    assert known.read("node", "echo", text(OLD)) is not kept
