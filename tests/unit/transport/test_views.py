"""Domain values on the wire: nothing is lost, and every side can read it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from agent_manager.domain.availability import Availability
from agent_manager.ports.processes import LogTail, Usage
from agent_manager.protocol import resources
from agent_manager.protocol.messages import Message
from agent_manager.protocol.resources import LastLinesView
from agent_manager.services.queries import AgentSnapshot, InstanceMeasurement, NodeIdentity, NodeSnapshot
from agent_manager.services.store_watch import StoreState
from agent_manager.transport import views
from tests.contract import store_values as values


def read_back(view: Message) -> Message:
    again = type(view).model_validate_json(view.model_dump_json())
    assert again == view
    return view


def test_an_agent() -> None:
    launch = values.instance().launch
    assert launch is not None
    instance = replace(values.instance(), launch=replace(launch, ended=False))
    snapshot = AgentSnapshot(agent=values.agent(), instances=(instance,), availability=Availability.DRAINING)
    view = views.of_agent(snapshot)
    read_back(view)
    assert (view.id, view.name, view.availability, view.lifecycle) == ("echo", "Écho ✓", "draining", "active")
    assert view.config == {"greeting": "bonjour", "limits": {"tokens": 10}}
    assert view.capabilities[0].parameters == {"levels": [1, 2, {"deep": None}]}
    assert view.created_at == datetime.fromtimestamp(1_700_000_000.25, UTC)
    (shown,) = view.instances
    assert (shown.id, shown.node, shown.pid, shown.status) == ("echo_0", "node-1", 4321, "stopping")
    assert shown.last_exit is not None
    assert (shown.last_exit.signal, shown.last_exit.reason) == (11, "crash")
    assert shown.last_exit.last_lines is None
    (told,) = views.of_agent(snapshot, last_lines_bytes=1_000).instances
    assert told.last_exit is not None
    assert told.last_exit.last_lines == LastLinesView(out=["one"], err=[])
    status = views.of_status(snapshot)
    read_back(status)
    assert status.instances == view.instances


def test_an_instance_without_a_process_shows_none() -> None:
    ended = views.of_instance(values.instance(), "node-1")
    assert ended.pid is None
    never = views.of_instance(replace(values.instance(), launch=None, last_exit=None), "node-1")
    read_back(never)
    assert (never.pid, never.started_at, never.last_heartbeat, never.last_exit) == (None, None, None, None)


def test_measurements() -> None:
    usage = Usage(processes=2, rss_bytes=3, cpu_s=0.5, threads=4, open_files=5)
    measured = InstanceMeasurement(
        node_id="node-1",
        at=1_700_000_000.0,
        instance=values.instance(),
        uptime_s=1.5,
        heartbeat=None,
        usage=usage,
        counters={"requests": 2.0},
    )
    view = views.of_measurement(measured)
    read_back(view)
    assert view.process == resources.UsageView(processes=2, rss_bytes=3, cpu_s=0.5, threads=4, open_files=5)
    assert (view.uptime_s, view.load, view.counters) == (1.5, None, {"requests": 2.0})


def test_a_package_with_its_faults() -> None:
    view = views.of_package(values.package())
    read_back(view)
    (fault,) = view.faults
    assert (fault.file, fault.line, fault.key, fault.expected) == ("agent.yaml", 7, "replica", "replicas")
    assert (view.status, view.version) == ("invalid", "1.2.3")


def test_the_end_of_a_log() -> None:
    tail = LogTail(instance_id="echo_0", stream="out", path="/logs/x", lines=("a", "b"), end_offset=9)
    view = views.of_log_tail(tail)
    read_back(view)
    assert view.lines == ["a", "b"]


def test_a_node() -> None:
    identity = NodeIdentity(
        node_id="node-1", cluster_id="c", version="1", manager_pid=1, launcher_pid=2, started_at=1_700_000_000.0
    )
    away = StoreState(reason="the database is away", since=1_700_000_000.0)
    view = views.of_node(
        NodeSnapshot(identity=identity, host={"cpus": 2}, agents=1, instances={"running": 3}, store=away)
    )
    read_back(view)
    assert view.store is not None
    assert (view.store.available, view.store.reason) == (False, "the database is away")
    assert (view.id, view.agents, view.instances, view.host) == ("node-1", 1, {"running": 3}, {"cpus": 2})


def test_last_lines_are_shown_as_long_as_there_is_room() -> None:
    instances = [values.instance(ordinal=number) for number in range(3)]
    snapshot = AgentSnapshot(agent=values.agent(), instances=tuple(instances), availability=Availability.ERROR)
    room = 2 * len(LastLinesView(out=["one"], err=[]).model_dump_json())
    for view, told in (
        (views.of_agent(snapshot, last_lines_bytes=room), 2),
        (views.of_agent(snapshot, last_lines_bytes=room - 1), 1),
        (views.of_agent(snapshot), 0),
        (views.of_status(snapshot), 0),
    ):
        exits = [shown.last_exit for shown in view.instances if shown.last_exit is not None]
        assert [ended.last_lines is not None for ended in exits] == [True] * told + [False] * (3 - told)
