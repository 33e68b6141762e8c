"""What one step of the supervision state machine is made of: its circumstances, and the actions that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from agent_manager.domain.clock import Now
from agent_manager.domain.exits import Exit
from agent_manager.domain.instances import Instance, Launch


@dataclass(frozen=True, kw_only=True, slots=True)
class Spawn:
    """Start the launch; the launcher's slot must still carry `expected_launch_id`."""

    launch: Launch
    expected_launch_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain:
    """Ask the agent, over the bus, to finish what it does and take nothing new."""

    launch_id: str
    timeout_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """Send a signal, by name, to the whole tree."""

    launch_id: str
    signal: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordExit:
    """Keep the exit for ever; only then may the launcher forget it."""

    exit: Exit


@dataclass(frozen=True, kw_only=True, slots=True)
class CountRestart:
    """A restart has been decided on: it counts against the node's budget."""


Action = Spawn | Drain | Signal | RecordExit | CountRestart


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a decision may depend on besides the instance.

    `observing_since` is the monotonic moment since which heartbeats could have been received without interruption, None
    while they cannot: silence counts only inside it. `new_launch_id` has not been used, `jitter` (in [0, 1)) is fresh.
    `restart_wait_s` is how long the node's budget makes a restart wait.
    """

    now: Now
    observing_since: float | None
    new_launch_id: str
    jitter: float
    restart_wait_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The instance afterwards, and what to do."""

    instance: Instance
    actions: tuple[Action, ...] = ()
