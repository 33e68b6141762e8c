"""Rows that were read before are not parsed anew, and do not pile up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent_manager.adapters.sql import known_rows
from agent_manager.adapters.sql.known_rows import KnownRows


def parsed(text: str) -> Callable[[], list[str]]:
    """Each time another object."""
    return lambda: text.split()


def test_what_was_read_before_is_the_same_and_what_has_changed_is_read() -> None:
    known = KnownRows()
    first = known.read(("agent", "echo"), "a b", parsed("a b"))
    assert first == ["a", "b"]
    assert known.read(("agent", "echo"), "a b", parsed("a b")) is first
    assert known.read(("agent", "echo"), "a c", parsed("a c")) == ["a", "c"]
    assert known.read(("spec", "echo"), "a b", parsed("a b")) is not first


def test_what_cannot_be_parsed_is_not_known() -> None:
    known = KnownRows()
    with pytest.raises(ValueError, match="invalid literal"):
        known.read("name", "x", lambda: int("x"))
    assert known.read("name", "x", lambda: 7) == 7


def test_of_each_name_one_is_kept_and_of_names_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_rows, "REMEMBERED", 3)
    known = KnownRows()
    first = known.read("a", "1", parsed("1"))
    for text in ("2", "1"):
        known.read("a", text, parsed(text))
    kept = known.read("a", "1", parsed("1"))
    assert kept is not first
    for name in ("b", "c"):
        known.read(name, "1", parsed("1"))
    assert known.read("a", "1", parsed("1")) is kept
    known.read("d", "1", parsed("1"))
    assert known.read("a", "1", parsed("1")) is not kept
