"""Events: what happened, in the past tense, as rows and on the public feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One fact. `type` is a subject token such as `running` or `package_invalid`; `at` is Unix seconds.

    `sequence` tells its row apart, set once it is stored; `number` is its place in the published order, set once it has
    one. `actor` says who asked, where somebody did.
    """

    type: str
    agent_id: str
    at: float
    message: str
    instance_id: str | None = None
    actor: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    sequence: int | None = None
    number: int | None = None
