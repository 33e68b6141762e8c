"""What is supervised: so many programs, each with a name in its environment by which its processes are known."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "BENCH_NAME"
_BEAT = Path(__file__).with_name("beat.py")
_SDK_AGENT = Path(__file__).with_name("sdk_agent.py")


@dataclass(frozen=True, slots=True)
class Program:
    """One program: its name, what to execute, and what it needs in its environment, the name included."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]


def agents(count: int, *, nats_url: str) -> list[Program]:
    """So many Python agents."""
    return [
        Program(f"a{number}", (sys.executable, str(_BEAT)), {NAME: f"a{number}", "BENCH_NATS_URL": nats_url})
        for number in range(count)
    ]


def sdk_agents(count: int) -> list[Program]:
    """So many agents of the SDK, whose heartbeats the node hears."""
    return [Program(f"a{number}", (sys.executable, str(_SDK_AGENT)), {}) for number in range(count)]


def executables(count: int) -> list[Program]:
    """So many programs that do nothing."""
    return [Program(f"a{number}", ("/bin/sleep", "100000"), {NAME: f"a{number}"}) for number in range(count)]


def name_of(pid: int) -> str | None:
    """Which of the executables a process is; None where it is none of them, or not yet."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(f"{NAME}=".encode()):
                return entry.partition(b"=")[2].decode()
    return None


def living_agents() -> set[int]:
    """The processes of all agents at this moment. A fork shows the environment of what it was forked of."""
    found = set()
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and _BEAT.name.encode() in Path(f"/proc/{entry}/cmdline").read_bytes():
                found.add(int(entry))
    return found
