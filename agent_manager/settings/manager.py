"""The tree of settings, and where the manager finds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from agent_manager.configuration.addresses import shown_database
from agent_manager.configuration.database_url import DatabaseUrl
from agent_manager.configuration.kinds import (
    FilePath,
    SecretFilePath,
    Text,
    number,
    only_true,
    seconds,
    text,
    truth,
    whole,
)
from agent_manager.configuration.nats import NatsSettings
from agent_manager.configuration.program import Program
from agent_manager.configuration.service import ServiceSettings
from agent_manager.configuration.tree import Group, Setting
from agent_manager.settings.awaited import (
    CachingSettings,
    CollaborationSettings,
    ConversationSettings,
    HealthSettings,
    ModelSettings,
    RoutingSettings,
    TaskSettings,
)

_DAY_S = 86_400.0


class ManagerServiceSettings(ServiceSettings):
    """The program itself."""

    name: Text = "agent-manager"
    """What this service is called in its log and towards the bus."""
    enabled: Annotated[bool, only_true(), Setting(also=("services.agent_manager.enabled",))] = True
    """Always true: a manager that is not wanted is not started."""
    discovery_interval_s: Annotated[float, seconds(0.1, _DAY_S)] = 30.0
    """Packages are watched; this is how often they are looked at anyway."""
    monitoring_interval_s: Annotated[float, seconds(0.1, 3_600), Setting(live=True)] = 10.0
    """How often what is and what should be are compared although nobody nudged."""
    cleanup_interval_s: Annotated[float, seconds(1, 7 * _DAY_S), Setting(live=True)] = 3_600.0
    """How often records are removed from the database that are beyond the limits of `retention`."""
    stop_timeout_s: Annotated[float, seconds(1, 3_600)] = 90.0
    """How long all agents together may take to stop when the node goes down, before they are ended."""


class DatabaseSettings(Group):
    """Where what must survive is kept."""

    url: Annotated[DatabaseUrl | None, Setting(variables=("DATABASE_URL",), secret=True, shown_as=shown_database)] = (
        Field(default=None, repr=False)
    )
    """`postgresql://user:password@host/name` or `sqlite:////path/file.db`; without one a file in the data directory."""
    pool_size: Annotated[int, whole(1, 1_000)] = 5
    """Connections to PostgreSQL that are kept open."""
    max_overflow: Annotated[int, whole(0, 1_000)] = 10
    """Connections to PostgreSQL opened beyond those when all are in use."""


class ManagerNatsSettings(NatsSettings):
    """The bus. Without `url` and `context`, `agent-manager up` runs a server of its own."""

    signing_key: SecretFilePath | None = None
    """A file with the seed of an account's signing key: every launch of an agent gets a user of its own then."""
    account: Annotated[str, text("an account's public key (A…)", r"A[A-Z2-7]{55}")] | None = None
    """The account's public key, where `signing_key` is not the account's own."""
    credentials_lifetime_s: Annotated[float, seconds(2, 365 * _DAY_S)] = _DAY_S
    """How long the credentials live that are made with it; they are renewed at half of it."""
    replicas: Annotated[int, whole(1, 5)] = 1
    """Copies the streams keep in a cluster: 1, 3 or 5."""


class EventSettings(Group):
    """The public stream of events."""

    max_age_s: Annotated[float, seconds(60, 365 * _DAY_S)] = 7 * _DAY_S
    """How long events are kept in the stream, and how far back one that was lost is filled again."""
    max_bytes: Annotated[int, whole(1_048_576, 1 << 50)] = 1 << 30
    """Most bytes of the stream; the oldest events go first."""


class RetentionSettings(Group):
    """What the database keeps of events and exits. Both limits count: what is beyond one of them is removed."""

    events_max_age_s: Annotated[float, seconds(60, 3_650 * _DAY_S), Setting(live=True)] = 30 * _DAY_S
    """How long events are kept once they are published; never less than `events.max_age`."""
    events_max_count: Annotated[int, whole(1, 1_000_000_000), Setting(live=True)] = 1_000_000
    """Most events that are kept once they are published."""
    exits_max_age_s: Annotated[float, seconds(3_600, 3_650 * _DAY_S), Setting(live=True)] = 90 * _DAY_S
    """How long the records of ended processes are kept."""
    exits_max_per_agent: Annotated[int, whole(1, 1_000_000), Setting(live=True)] = 1_000
    """Most of those records that are kept of an agent; those of the last hour stay in any case."""


class MetricsSettings(Group):
    """What Prometheus scrapes."""

    enabled: Annotated[bool, truth(), Setting(also=("monitoring.enabled",))] = True
    """Whether the manager listens for scrapes."""
    host: Text = "127.0.0.1"
    """Address to listen on; metrics name agents, so mind who reaches it."""
    port: Annotated[int, whole(0, 65_535)] = 0
    """Port to listen on; 0 takes any free one, which the log, the terminal of `up` and `up.json` name."""


class PackageSettings(Group):
    """When changed packages are taken, and what they run in."""

    settle_s: Annotated[float, seconds(0, 60)] = 0.3
    """How long nobody may have written to a package folder before its files are taken for a version."""
    settle_max_s: Annotated[float, seconds(0.1, 3_600)] = 30.0
    """After so long without rest a new package is taken as it is; of a known one it is told, and what runs goes on."""
    environment_timeout_s: Annotated[float, seconds(1, _DAY_S)] = 600.0
    """How long the virtual environment of a package may take to be made."""
    environment_jobs: Annotated[int, whole(1, 64)] = 2
    """How many environments are made at once."""


class SupervisionSettings(Group):
    """What keeps many agents that start, or crash, at the same time from harming each other."""

    starts_at_once: Annotated[int, whole(1, 10_000)] = 16
    """How many agents come up at once; the others wait for their turn, those that crashed going first."""
    restart_burst: Annotated[int, whole(1, 1_000_000)] = 1_000
    """Restarts after crashes that the node makes without any wait beyond that of the agent's own policy."""
    restart_rate: Annotated[float, number(0.01, 10_000)] = 5.0
    """How many more of them every second; beyond both, a restart waits until there is one left for it."""


class ManagerSettings(Group):
    """Everything that can be chosen of a node's manager."""

    data_dir: FilePath = Path(".agent-manager")
    """Where keys, database, logs and state are kept."""
    packages_dir: FilePath = Path("agent_packages")
    """The folder with the agent packages."""
    packages: PackageSettings = PackageSettings()
    """When changed packages are taken, and what they run in."""
    supervision: SupervisionSettings = SupervisionSettings()
    """What keeps many agents that start, or crash, at the same time from harming each other."""
    service: ManagerServiceSettings = ManagerServiceSettings()
    """The program itself."""
    database: DatabaseSettings = DatabaseSettings()
    """Where what must survive is kept."""
    nats: ManagerNatsSettings = ManagerNatsSettings()
    """The bus."""
    events: EventSettings = EventSettings()
    """The public stream of events."""
    retention: RetentionSettings = RetentionSettings()
    """What the database keeps of events and exits."""
    metrics: MetricsSettings = MetricsSettings()
    """What Prometheus scrapes."""
    health: HealthSettings = HealthSettings()
    """Health checks of agents."""
    tasks: TaskSettings = TaskSettings()
    """Work handed to agents."""
    routing: RoutingSettings = RoutingSettings()
    """Which agent gets a task."""
    collaboration: CollaborationSettings = CollaborationSettings()
    """Several agents at one task."""
    models: ModelSettings = ModelSettings()
    """Language models behind the agents."""
    conversations: ConversationSettings = ConversationSettings()
    """Conversations that are kept for agents."""
    caching: CachingSettings = CachingSettings()
    """Results that are kept to be used again."""

    @property
    def database_url(self) -> str:
        """The database's URL: the one that was given, else that of a file in the data directory."""
        return self.database.url or f"sqlite:///{self.data_dir / 'agent-manager.db'}"


def secret_variables() -> frozenset[str]:
    """Names, other than those with our prefixes, under which secrets of our programs stand in the environment."""
    names = {name for key in MANAGER.keys if key.setting.secret for name in key.variables(MANAGER.prefix)}
    return frozenset({*names, "JWT_SECRET"})


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeIds:
    """Who this node is, handed to the manager in its environment by whoever prepared the node."""

    node_id: str
    cluster_id: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Read them. Raises KeyError with the variable that is missing."""
        return cls(node_id=environ[NODE_ID_VARIABLE], cluster_id=environ[CLUSTER_ID_VARIABLE])

    @property
    def variables(self) -> dict[str, str]:
        """The environment that hands them over."""
        return {NODE_ID_VARIABLE: self.node_id, CLUSTER_ID_VARIABLE: self.cluster_id}


NODE_ID_VARIABLE = "AGENT_MANAGER_NODE_ID"
CLUSTER_ID_VARIABLE = "AGENT_MANAGER_CLUSTER_ID"

MANAGER = Program(
    name="agent-manager",
    model=ManagerSettings,
    prefix="AGENT_MANAGER",
    files=(Path("config/agent_manager.yaml"), Path("/etc/agent-manager/agent_manager.yaml")),
    reserved=(
        NODE_ID_VARIABLE,
        CLUSTER_ID_VARIABLE,
        # Where agentctl finds the API.
        "AGENT_MANAGER_API_URL",
        # The launcher's marks on everything it starts.
        "AGENT_MANAGER_INSTALLATION",
        "AGENT_MANAGER_RUN",
    ),
)
