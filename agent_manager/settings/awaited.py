"""Settings of what is not there yet: accepted and checked, so that files can name them, and reported as unused."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from agent_manager.configuration.kinds import listing, number, seconds, truth, whole, word
from agent_manager.configuration.tree import Group, Setting

Strategy = Literal["round_robin", "least_loaded", "capability_based"]

_DAY_S = 86_400.0
_MANAGER = "agents.manager", "agent_manager", "services.agent_manager"


def _of_manager(*names: str) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for section in _MANAGER for name in names)


class HealthSettings(Group):
    """Health checks of agents."""

    check_interval_s: Annotated[
        float,
        seconds(0.1, _DAY_S),
        Setting(
            variables=("AGENT_HEALTH_CHECK_INTERVAL",),
            also=_of_manager("health_check_interval"),
            awaits="health checks",
        ),
    ] = 30.0
    """How often each instance is asked how it is."""


class TaskSettings(Group):
    """Work handed to agents."""

    max_concurrent: Annotated[
        int,
        whole(1, 100_000),
        Setting(variables=("AGENT_MAX_CONCURRENT_TASKS",), also=_of_manager("max_concurrent_tasks"), awaits="tasks"),
    ] = 10
    """Tasks one instance works on at a time."""
    timeout_s: Annotated[
        float,
        seconds(0.1, 30 * _DAY_S),
        Setting(variables=("AGENT_TASK_TIMEOUT",), also=_of_manager("task_timeout"), awaits="tasks"),
    ] = 300.0
    """How long an attempt may take where the task does not say."""
    retry_attempts: Annotated[int, whole(0, 100), Setting(also=_of_manager("retry_attempts"), awaits="tasks")] = 3
    """Attempts after the first that has failed, where the task does not say."""


def _weight(name: str) -> Setting:
    return Setting(
        variables=(f"AGENT_ROUTING_WEIGHTS_{name.upper()}",), also=(f"agents.routing.weights.{name}",), awaits="tasks"
    )


class RoutingWeights(Group):
    """What counts how much when an agent is chosen by capability."""

    capability: Annotated[float, number(0, 1), _weight("capability")] = 0.4
    """How well its capabilities match."""
    performance: Annotated[
        float,
        number(0, 1),
        Setting(
            variables=("AGENT_ROUTING_WEIGHTS_PERFORMANCE",),
            also=("agents.routing.weights.performance",),
            awaits="tasks",
        ),
    ] = 0.3
    """Its rate of success."""
    load: Annotated[float, number(0, 1), _weight("load")] = 0.2
    """How little it has to do."""
    cost: Annotated[float, number(0, 1), _weight("cost")] = 0.1
    """How cheap it is."""


class RoutingSettings(Group):
    """Which agent gets a task."""

    strategy: Annotated[
        Strategy,
        word(get_args(Strategy)),
        Setting(variables=("AGENT_ROUTING_STRATEGY",), also=("agents.routing.strategy",), awaits="tasks"),
    ] = "capability_based"
    """How an agent is chosen where the task does not say."""
    weights: RoutingWeights = RoutingWeights()
    """Weights of `capability_based`."""


def _strategy(name: str) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for section in ("agents.collaboration.strategies", "agents.collaboration"))


class ConsensusSettings(Group):
    """Agents that have to agree."""

    threshold: Annotated[
        float,
        number(0, 1),
        Setting(
            variables=("AGENT_CONSENSUS_THRESHOLD",),
            also=_strategy("consensus.threshold"),
            awaits="collaboration",
        ),
    ] = 0.8
    """The share of agents that must agree."""
    max_rounds: Annotated[
        int,
        whole(1, 1_000),
        Setting(
            variables=("AGENT_CONSENSUS_MAX_ROUNDS",),
            also=_strategy("consensus.max_rounds"),
            awaits="collaboration",
        ),
    ] = 5
    """Rounds after which there is no consensus."""


class MapReduceSettings(Group):
    """Work that is split among agents."""

    max_parallel: Annotated[
        int,
        whole(1, 10_000),
        Setting(
            also=(
                "agents.collaboration.strategies.map_reduce.max_parallel",
                "agents.collaboration.map_reduce.max_parallel",
            ),
            awaits="collaboration",
        ),
    ] = 20
    """Parts worked on at the same time."""


class CollaborationSettings(Group):
    """Several agents at one task."""

    timeout_s: Annotated[
        float,
        seconds(0.1, 30 * _DAY_S),
        Setting(
            variables=("AGENT_COLLABORATION_TIMEOUT",), also=("agents.collaboration.timeout",), awaits="collaboration"
        ),
    ] = 600.0
    """How long a session may take."""
    consensus: ConsensusSettings = ConsensusSettings()
    """Agreement."""
    map_reduce: MapReduceSettings = MapReduceSettings()
    """Split and merge."""


class CostLimits(Group):
    """Budgets, in the currency of the price table."""

    per_task: Annotated[
        float, number(0, 1e9), Setting(also=("agents.models.cost_limits.per_task",), awaits="budgets of tasks")
    ] = 0.10
    """What one task may cost."""
    per_session: Annotated[
        float, number(0, 1e9), Setting(also=("agents.models.cost_limits.per_session",), awaits="budgets of tasks")
    ] = 1.00
    """What one session may cost."""


class ModelSettings(Group):
    """Language models behind the agents."""

    allowed: Annotated[
        tuple[str, ...], listing(), Setting(also=("agents.models.allowed",), awaits="budgets of tasks")
    ] = ()
    """Models that may be used; empty: all."""
    cost_limits: CostLimits = CostLimits()
    """Budgets."""


class ConversationSettings(Group):
    """Conversations that are kept for agents."""

    enabled: Annotated[bool, truth(), Setting(also=("services.conversations.enabled",), awaits="conversations")] = True
    """Whether conversations are kept."""
    max_messages: Annotated[
        int, whole(1, 1_000_000), Setting(also=("services.conversations.max_messages",), awaits="conversations")
    ] = 100
    """Messages kept of each; older ones are dropped."""
    context_window: Annotated[
        int, whole(1, 1_000_000), Setting(also=("services.conversations.context_window",), awaits="conversations")
    ] = 50
    """Messages handed to an agent as context."""


class CachingSettings(Group):
    """Results that are kept to be used again."""

    enabled: Annotated[bool, truth(), Setting(awaits="the result cache of tasks")] = False
    """Whether results are kept for task types that ask for it."""
