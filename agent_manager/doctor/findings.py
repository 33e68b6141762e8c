"""What a check came to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent_manager.settings.manager import ManagerSettings


class Severity(StrEnum):
    """How bad it is. A warning is something that works now and should be known."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One fact: what was looked at, what it is, and where it is not well, how to mend it."""

    subject: str
    severity: Severity
    message: str
    remedy: str | None = None


def ok(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding(subject=subject, severity=Severity.OK, message=message)


def warning(subject: str, message: str, remedy: str) -> Finding:
    """It works, but."""
    return Finding(subject=subject, severity=Severity.WARNING, message=message, remedy=remedy)


def fault(subject: str, message: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(subject=subject, severity=Severity.FAULT, message=message, remedy=remedy)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """The node that is looked at: its settings, and whether a launcher holds its data directory.

    `environ` tells where contexts of the `nats` tool are. `at_fault` are the subjects of the faults found so far, which
    may be the cause of what is found next.
    """

    settings: ManagerSettings
    environ: Mapping[str, str]
    is_running: bool
    at_fault: frozenset[str] = frozenset()


Check = Callable[[Patient], Iterator[Finding]]
AsyncCheck = Callable[[Patient], AsyncIterator[Finding]]
