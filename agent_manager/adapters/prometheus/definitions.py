"""Every metric of the manager.

Those named `mcp_…` are the agents' metrics of the source documents (R57). Two of theirs, on tasks, are missing: there
are no tasks to count.
"""

from __future__ import annotations

from agent_manager.telemetry.definitions import Kind, Metric

_STATUSES = "`starting`, `running`, `inactive`, `stopping`, `stopped`, `backoff`, `error`"
_MODELS = "as in the manifests, `none` without one; `other` beyond 100"
_REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_UNIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

AGENTS_REGISTERED = Metric(
    name="mcp_agents_registered_total",
    kind=Kind.COUNTER,
    help="Agents registered on this node, those it found in its store when it started included",
    labels=("model",),
    values=_MODELS,
)
AGENTS_ACTIVE = Metric(
    name="mcp_agents_active",
    kind=Kind.GAUGE,
    help="Agents by availability",
    labels=("model", "status"),
    values=f"model {_MODELS}; status `registering`, `active`, `busy`, `draining`, `offline`, `error`",
)
UTILIZATION = Metric(
    name="mcp_agent_utilization_ratio",
    kind=Kind.GAUGE,
    help="Mean load that an agent's instances last reported, 0 idle to 1 full; agents that report none are left out",
    labels=("agent_id", "model"),
    values=f"agent_id: the first 2,000 agents in order; model {_MODELS}",
)

BUILD_INFO = Metric(
    name="agent_manager_build_info",
    kind=Kind.GAUGE,
    help="Always 1; which release runs where",
    labels=("version", "python_version", "node_id"),
)
LOOP_ANSWERS = Metric(
    name="agent_manager_event_loop_answers",
    kind=Kind.GAUGE,
    help="1, or 0 when the event loop took more than 2 s to answer this scrape: what depends on it is then left out",
)
LOOP_LAG = Metric(
    name="agent_manager_event_loop_lag_seconds",
    kind=Kind.HISTOGRAM,
    help="How late the event loop came to what was due; measured once a second",
    buckets=_LAG_BUCKETS_S,
)
AGENTS = Metric(
    name="agent_manager_agents",
    kind=Kind.GAUGE,
    help="Agents by lifecycle, which is what their users want",
    labels=("lifecycle",),
    values="`created`, `initializing`, `ready`, `active`, `paused`, `terminated`, `failed`",
)
INSTANCES = Metric(
    name="agent_manager_instances",
    kind=Kind.GAUGE,
    help="Instances by status",
    labels=("status",),
    values=_STATUSES,
)
RESTARTS = Metric(
    name="agent_manager_restarts_total",
    kind=Kind.COUNTER,
    help="Restarts of instances nobody asked for, after a crash for example",
)
EXITS = Metric(
    name="agent_manager_exits_total",
    kind=Kind.COUNTER,
    help="Ended launches by reason",
    labels=("reason",),
    values="`requested`, `completed`, `crash`, `oom`, `watchdog`, `start-timeout`, `start-failed`",
)
HEARTBEAT_AGE = Metric(
    name="agent_manager_oldest_heartbeat_age_seconds",
    kind=Kind.GAUGE,
    help="Age of the oldest last heartbeat among running and inactive instances that send them; 0 without any",
)
HEARTBEATS_LATE = Metric(
    name="agent_manager_heartbeats_late",
    kind=Kind.GAUGE,
    help="Running and inactive instances whose last heartbeat is older than twice their interval",
)
REQUEST_DURATION = Metric(
    name="agent_manager_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="From a request's arrival over NATS to its answer, waiting that was asked for included",
    labels=("operation", "outcome"),
    values="operation as on the wire (`agents.start` …), `unknown` for envelopes that name none; "
    "outcome `success` or the error's code",
    buckets=_REQUEST_BUCKETS_S,
)
REQUESTS_IN_PROGRESS = Metric(
    name="agent_manager_requests_in_progress",
    kind=Kind.GAUGE,
    help="Requests over NATS being carried out",
)
BUS_CONNECTED = Metric(
    name="agent_manager_bus_connected",
    kind=Kind.GAUGE,
    help="Whether the manager is connected to NATS and subscribed",
)
BUS_RECONNECTS = Metric(
    name="agent_manager_bus_reconnects_total",
    kind=Kind.COUNTER,
    help="Times the connection to NATS came back after it was lost",
)
BUS_ERRORS = Metric(
    name="agent_manager_bus_errors_total",
    kind=Kind.COUNTER,
    help="Errors the connection to NATS reported, vain attempts to connect included",
)
STORE_AVAILABLE = Metric(
    name="agent_manager_store_available",
    kind=Kind.GAUGE,
    help="Whether the last unit of work found the database; 0 before the first",
)
STORE_ERRORS = Metric(
    name="agent_manager_store_errors_total",
    kind=Kind.COUNTER,
    help="Units of work that failed, refused commands included",
    labels=("kind",),
    values="`read`, `write`",
)
STORE_DURATION = Metric(
    name="agent_manager_store_transaction_duration_seconds",
    kind=Kind.HISTOGRAM,
    help="Units of work of the store, waiting for their turn and for the disk included",
    labels=("kind",),
    values="`read`, `write`",
    buckets=_UNIT_BUCKETS_S,
)
RECORDS_REMOVED = Metric(
    name="agent_manager_records_removed_total",
    kind=Kind.COUNTER,
    help="Records that retention has deleted from the database; by the manager that publishes the events alone",
    labels=("table",),
    values="`events`, `exits`",
)
JOURNAL_PENDING = Metric(
    name="agent_manager_journal_pending",
    kind=Kind.GAUGE,
    help="Observations that wait to be written to the store",
)
JOURNAL_LOST = Metric(
    name="agent_manager_journal_lost_total",
    kind=Kind.COUNTER,
    help="Exits and events dropped because the store was away for too long",
)
FEED_WAITING = Metric(
    name="agent_manager_feed_waiting",
    kind=Kind.GAUGE,
    help="Messages of the live feed that wait to be published",
)
FEED_DROPPED = Metric(
    name="agent_manager_feed_dropped_total",
    kind=Kind.COUNTER,
    help="Messages of the live feed dropped because too many waited or the bus was away",
)
LAUNCHER_CONNECTED = Metric(
    name="agent_manager_launcher_connected",
    kind=Kind.GAUGE,
    help="Whether the manager is connected to its launcher",
)

METRICS: tuple[Metric, ...] = (
    AGENTS_REGISTERED,
    AGENTS_ACTIVE,
    UTILIZATION,
    BUILD_INFO,
    LOOP_ANSWERS,
    LOOP_LAG,
    AGENTS,
    INSTANCES,
    RESTARTS,
    EXITS,
    HEARTBEAT_AGE,
    HEARTBEATS_LATE,
    REQUEST_DURATION,
    REQUESTS_IN_PROGRESS,
    BUS_CONNECTED,
    BUS_RECONNECTS,
    BUS_ERRORS,
    STORE_AVAILABLE,
    STORE_ERRORS,
    STORE_DURATION,
    RECORDS_REMOVED,
    JOURNAL_PENDING,
    JOURNAL_LOST,
    FEED_WAITING,
    FEED_DROPPED,
    LAUNCHER_CONNECTED,
)
