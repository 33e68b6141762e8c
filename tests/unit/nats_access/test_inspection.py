"""Which subjects a pattern covers."""

from __future__ import annotations

import pytest

from agent_manager.nats_access.inspection import covers


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        (">", "a.b", True),
        (">", ">", True),
        ("a.>", "a.b.>", True),
        ("a.>", "a", False),
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.>", False),
        ("a.*", "a.b.c", False),
        ("a.b", "a.*", False),
        ("a.b.c", "a.b", False),
    ],
)
def test_a_pattern_covers_what_every_one_of_its_subjects_matches(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) is covered
