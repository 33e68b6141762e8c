"""The composition root of the manager: the only place that builds its objects and connects them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from nats.aio.client import Client
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from agent_manager.adapters.launch_recipe import LaunchRecipe
from agent_manager.adapters.launcher_client import LauncherClient
from agent_manager.adapters.logs import LogDirectory
from agent_manager.adapters.nats.agent_channel import NatsAgentChannel
from agent_manager.adapters.nats.bus import Bus, Signing, bus_of
from agent_manager.adapters.nats.bus_check import BusCheck
from agent_manager.adapters.nats.connection import BusConnection
from agent_manager.adapters.nats.event_stream import JetStreamEvents, StreamLimits
from agent_manager.adapters.nats.feed import Feed
from agent_manager.adapters.packages.environments import VirtualEnvironments
from agent_manager.adapters.packages.folder_source import PACKAGES_DEVICE, FolderPackageSource
from agent_manager.adapters.packages.installer import installer_of
from agent_manager.adapters.packages.settling import Patience
from agent_manager.adapters.processes import PsutilProcessInspector
from agent_manager.adapters.prometheus.instruments import Instruments
from agent_manager.adapters.prometheus.listener import MetricsListener
from agent_manager.adapters.prometheus.node_collector import NodeCollector
from agent_manager.adapters.sql.opening import store_at
from agent_manager.adapters.system import SystemChance, SystemClock
from agent_manager.configuration.live import Live
from agent_manager.domain.errors import InvalidRequestError
from agent_manager.domain.restart_budget import BudgetPolicy
from agent_manager.nats_access.errors import AccessError
from agent_manager.ports.observation import Observer
from agent_manager.protocol.release import release
from agent_manager.services.census import CensusTaker, Links
from agent_manager.services.commands import Commands
from agent_manager.services.counters import Counters
from agent_manager.services.event_publisher import EventPublisher
from agent_manager.services.eyesight import Eyesight
from agent_manager.services.journal import Journal
from agent_manager.services.log_following import LogFollowing
from agent_manager.services.preparation import Preparation
from agent_manager.services.queries import NodeIdentity, Queries
from agent_manager.services.reconciler import Reconciler
from agent_manager.services.registration import Discovery
from agent_manager.services.renewal import Renewal
from agent_manager.services.retention import Limits, Retention
from agent_manager.services.start_gate import StartGate
from agent_manager.services.store_watch import WatchedStore
from agent_manager.services.supervisor import Supervisor
from agent_manager.settings.manager import ManagerSettings, MetricsSettings, NodeIds, secret_variables
from agent_manager.telemetry.spans import Spans
from agent_manager.transport.endpoints import Endpoints
from agent_manager.transport.handlers import Handlers
from agent_manager.transport.live_logs import LiveLogs
from agent_manager.transport.reports import Reports

LAUNCHER_FD = 3
"""The manager's end of the connection to the launcher, which it inherits."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manager:
    """The connected parts that the daemon starts, watches and stops."""

    launcher: LauncherClient
    store: WatchedStore
    bus: BusConnection
    feed: Feed
    journal: Journal
    eyesight: Eyesight
    renewal: Renewal
    supervisor: Supervisor
    reconciler: Reconciler
    discovery: Discovery
    following: LogFollowing
    reports: Reports
    publisher: EventPublisher
    retention: Retention
    observer: Observer
    metrics: MetricsListener | None


class _Late:
    """What needs the client before there is one."""

    connection: BusConnection

    def client(self) -> Client | None:
        """The client while it is connected."""
        return self.connection.client


def build(
    live: Live[ManagerSettings], node: NodeIds, environment: Mapping[str, str], tasks: asyncio.TaskGroup, spans: Spans
) -> Manager:
    """Build everything. Connects to nothing yet; requests and actions will be tasks of `tasks`.

    Raises AgentManagerError when the settings do not say how NATS is to be reached.
    """
    settings, node_id = live.now, node.node_id
    clock, chance = SystemClock(), SystemChance()
    registry = _registry()
    observer = Instruments(registry)
    bus = _bus(settings, node_id, environment, clock)
    output = LogDirectory(settings.data_dir / "logs" / "agents")
    late = _Late()
    launcher = LauncherClient(LAUNCHER_FD, _recipe(bus, node_id, environment, output))
    store = _store(settings, clock, observer, spans)
    publisher = EventPublisher(
        store=store,
        stream=JetStreamEvents(late.client, _event_limits(settings)),
        clock=clock,
        history_s=settings.events.max_age_s,
    )
    retention = Retention(
        store=store, publisher=publisher, clock=clock, limits=lambda: _retention(live.now), observer=observer
    )
    feed = Feed(late.client, on_event=publisher.committed)
    journal = Journal(store=store, launcher=launcher, announcer=feed, node_id=node_id)
    eyesight = Eyesight(clock, observer)
    supervisor = Supervisor(
        launcher=launcher,
        identities=bus.identities,
        channel=NatsAgentChannel(late.client),
        journal=journal,
        eyesight=eyesight,
        clock=clock,
        chance=chance,
        tasks=tasks,
        gate=StartGate(settings.supervision.starts_at_once),
        budget=BudgetPolicy(burst=settings.supervision.restart_burst, per_s=settings.supervision.restart_rate),
        observer=observer,
        tracer=spans,
    )
    eyesight.on_change(supervisor.sight_changed)
    reconciler = Reconciler(
        store=store, supervisor=supervisor, node_id=node_id, interval_s=lambda: live.now.service.monitoring_interval_s
    )
    counters = Counters(supervisor)
    journal.on_released(counters.forget)
    source = _source(settings)
    preparation = Preparation(environments=_environments(settings, environment), source=source, tasks=tasks)
    commands = Commands(
        store=store,
        announcer=feed,
        reconciler=reconciler,
        supervisor=supervisor,
        clock=clock,
        node_id=node_id,
        preparation=preparation,
    )
    following = LogFollowing(logs=output, channel=LiveLogs(late.client), clock=clock)
    queries = Queries(
        store=store,
        store_state=lambda: store.state,
        supervisor=supervisor,
        counters=counters,
        inspector=PsutilProcessInspector(),
        logs=output,
        clock=clock,
        node=_this_node(node, clock),
    )
    handlers = Handlers(commands, queries, following).table()
    endpoints = Endpoints(
        handlers=handlers,
        tasks=tasks,
        version=release(),
        node_id=node_id,
        observer=observer,
        tracer=spans,
    )
    reports = Reports(
        supervisor=supervisor, counters=counters, publish=feed.publish, node_id=node_id, shared=bus.shared
    )
    late.connection = _connection(settings, bus, reports, endpoints, eyesight, observer, tasks)
    discovery = Discovery(
        source=source,
        preparation=preparation,
        store=store,
        announcer=feed,
        reconciler=reconciler,
        clock=clock,
        node_id=node_id,
    )
    census = CensusTaker(
        supervisor=supervisor,
        reconciler=reconciler,
        journal=journal,
        links=Links(
            feed_waiting=lambda: feed.waiting,
            feed_dropped=lambda: feed.dropped,
            bus_connected=lambda: late.client() is not None,
            launcher_connected=lambda: launcher.connected,
        ),
        clock=clock,
    )
    registry.register(NodeCollector(census.take, asyncio.get_running_loop(), version=release(), node_id=node_id))
    return Manager(
        launcher=launcher,
        store=store,
        bus=late.connection,
        feed=feed,
        journal=journal,
        eyesight=eyesight,
        renewal=Renewal(bus.identities, supervisor, lifetime_s=settings.nats.credentials_lifetime_s),
        supervisor=supervisor,
        reconciler=reconciler,
        discovery=discovery,
        following=following,
        reports=reports,
        publisher=publisher,
        retention=retention,
        observer=observer,
        metrics=_listener(settings.metrics, registry),
    )


def _store(settings: ManagerSettings, clock: SystemClock, observer: Observer, spans: Spans) -> WatchedStore:
    chosen = settings.database
    store = store_at(settings.database_url, pool_size=chosen.pool_size, max_overflow=chosen.max_overflow)
    return WatchedStore(store, clock, observer, spans)


def _connection(
    settings: ManagerSettings,
    bus: Bus,
    reports: Reports,
    endpoints: Endpoints,
    eyesight: Eyesight,
    observer: Observer,
    tasks: asyncio.TaskGroup,
) -> BusConnection:
    check = BusCheck(embedded=bus.embedded)

    async def subscribe(client: Client) -> None:
        await reports.register(client)
        await endpoints.register(client)

    def connected() -> None:
        observer.bus_connected()
        eyesight.opened()
        tasks.create_task(check.run(connection.client), name="bus check")

    connection = BusConnection(
        access=bus.access,
        on_connected=subscribe,
        on_up=connected,
        on_down=eyesight.closed,
        on_error=observer.bus_failed,
        connect_timeout_s=settings.nats.connect_timeout_s,
    )
    return connection


def _event_limits(settings: ManagerSettings) -> StreamLimits:
    return StreamLimits(
        max_age_s=settings.events.max_age_s,
        max_bytes=settings.events.max_bytes,
        replicas=settings.nats.replicas,
    )


def _retention(settings: ManagerSettings) -> Limits:
    chosen = settings.retention
    return Limits(
        interval_s=settings.service.cleanup_interval_s,
        # A stream that was lost is filled again from the database.
        events_age_s=max(chosen.events_max_age_s, settings.events.max_age_s),
        events=chosen.events_max_count,
        exits_age_s=chosen.exits_max_age_s,
        exits_per_agent=chosen.exits_max_per_agent,
    )


def _registry() -> CollectorRegistry:
    # A second series for every one, that says when it began: nothing here asks for it.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # annotated nowhere
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def _listener(settings: MetricsSettings, registry: CollectorRegistry) -> MetricsListener | None:
    return MetricsListener(registry, host=settings.host, port=settings.port) if settings.enabled else None


def _recipe(bus: Bus, node_id: str, environment: Mapping[str, str], output: LogDirectory) -> LaunchRecipe:
    return LaunchRecipe(
        node_id=node_id,
        bus=bus.variables,
        python=sys.executable,
        output_stem=output.stem,
        inherited=environment,
        withheld=secret_variables(),
    )


def _bus(settings: ManagerSettings, node_id: str, environment: Mapping[str, str], clock: SystemClock) -> Bus:
    chosen = settings.nats
    try:
        resolved = chosen.access(environment)
    except AccessError as error:
        raise InvalidRequestError(error.message) from error
    signing = None
    if chosen.signing_key is not None:
        signing = Signing(key=chosen.signing_key, account=chosen.account, lifetime_s=chosen.credentials_lifetime_s)
    bus = bus_of(resolved, signing, data_dir=settings.data_dir, node_id=node_id, clock=clock)
    for remark in bus.remarks:
        log.warning("nats_context_ignored", extra={"detail": remark})
    if bus.shared:
        text = (
            "agents connect with the manager's own credentials: each of them can speak as another one, or as the "
            "manager. Set nats.signing_key to give every launch a user of its own"
        )
        log.warning("agents_share_credentials", extra={"detail": text})
    return bus


def _source(settings: ManagerSettings) -> FolderPackageSource:
    return FolderPackageSource(
        settings.packages_dir,
        interval_s=settings.service.discovery_interval_s,
        patience=Patience(quiet_s=settings.packages.settle_s, longest_s=settings.packages.settle_max_s),
        device_file=settings.data_dir / "run" / PACKAGES_DEVICE,
    )


def _environments(settings: ManagerSettings, environment: Mapping[str, str]) -> VirtualEnvironments:
    return VirtualEnvironments(
        root=settings.data_dir / "environments",
        logs=settings.data_dir / "logs" / "environments",
        installer=installer_of(environment),
        inherited=environment,
        timeout_s=settings.packages.environment_timeout_s,
        jobs=settings.packages.environment_jobs,
    )


def _this_node(node: NodeIds, clock: SystemClock) -> NodeIdentity:
    return NodeIdentity(
        node_id=node.node_id,
        cluster_id=node.cluster_id,
        version=release(),
        manager_pid=os.getpid(),
        launcher_pid=os.getppid(),
        started_at=clock.now().wall,
    )
