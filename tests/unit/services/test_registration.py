"""What discovery finds becomes packages and agents: one unit of work."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.domain.agents import Agent, ManifestFault, Package, PackageStatus
from agent_manager.domain.errors import ConflictError, InvalidRequestError, NotFoundError
from agent_manager.domain.events import Event
from agent_manager.domain.identifiers import check_agent_id
from agent_manager.domain.instances import Instance, InstanceStatus, Target
from agent_manager.domain.lifecycle import Lifecycle
from agent_manager.domain.specification import AgentSpec, Capability, OnChange
from agent_manager.ports.packages import EnvironmentNeed, FoundPackage, Stage
from agent_manager.services import registration
from agent_manager.services.preparation import Preparation
from agent_manager.services.registration import Discovery, register
from tests.harness.domain import SPEC
from tests.harness.fakes import FakeEnvironments, FakeSource
from tests.harness.waiting import eventually
from tests.unit.services.bench import NODE, Bench

FAULT = ManifestFault(file="echo/agent.yaml", line=3, message="replicas must be a number")


def folder(name: str = "echo", *, spec: AgentSpec | None = SPEC) -> FoundPackage:
    return FoundPackage(name=name, path=f"/packages/{name}", spec=spec, faults=() if spec is not None else (FAULT,))


@dataclass
class Registry:
    """The rows, and a shorthand for a scan with its outcome."""

    store: SqliteStore
    now: float = 100.0

    async def scan(self, *found: FoundPackage) -> list[str]:
        self.now += 1.0
        events = await self.store.write(lambda transaction: register(transaction, found, NODE, self.now))
        assert all(event.sequence is not None for event in events)
        return [f"{event.type} {event.agent_id}" for event in events]

    async def agent(self, agent_id: str = "echo") -> Agent:
        found = await self.store.read(lambda transaction: transaction.agent(agent_id))
        assert found is not None
        return found

    async def change(self, agent: Agent) -> None:
        await self.store.write(lambda transaction: transaction.save_agent(agent))

    async def packages(self) -> dict[str, Package]:
        packages = await self.store.read(lambda transaction: transaction.packages())
        return {package.name: package for package in packages}


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with SqliteStore("sqlite://") as store:
        yield Registry(store)


async def test_a_new_package_becomes_an_agent_that_is_to_run(registry: Registry) -> None:
    assert await registry.scan(folder()) == ["registered echo"]
    agent = await registry.agent()
    assert (agent.lifecycle, agent.start_serial, agent.package) == (Lifecycle.ACTIVE, 1, "echo")
    assert (await registry.packages())["echo"].status is PackageStatus.AVAILABLE


async def test_an_agent_of_another_node_is_not_taken_over_and_both_ways_out_are_told(registry: Registry) -> None:
    await registry.scan(folder())
    theirs = replace(await registry.agent(), node_id="node-elsewhere")
    await registry.change(theirs)
    await registry.store.write(lambda transaction: transaction.remove_package(NODE, "echo"))
    assert await registry.scan(folder(), folder("other")) == ["package_invalid echo", "registered other"]
    assert await registry.scan(folder(), folder("other")) == []
    assert await registry.agent() == theirs
    package = (await registry.packages())["echo"]
    assert package.status is PackageStatus.INVALID
    (fault,) = package.faults
    assert "belongs to the node node-elsewhere: rename the folder" in fault.message
    assert "node-elsewhere is written into its node.json as node_id" in fault.message
    assert await registry.scan(folder("other")) == ["package_removed echo"]
    assert await registry.agent() == theirs


@pytest.mark.parametrize("stage", [Stage.PREPARING, Stage.FAILED])
async def test_whose_agent_it_is_counts_for_more_than_what_became_of_the_environment(
    registry: Registry, stage: Stage
) -> None:
    await registry.scan(folder())
    await registry.change(replace(await registry.agent(), node_id="node-elsewhere"))
    assert await registry.scan(replace(folder(), spec=None, stage=stage)) == ["package_invalid echo"]
    (fault,) = (await registry.packages())["echo"].faults
    assert "belongs to the node node-elsewhere" in fault.message


async def test_an_agent_that_was_taken_over_before_is_left_alone_too(registry: Registry) -> None:
    await registry.scan(folder())
    theirs = replace(await registry.agent(), node_id="node-elsewhere")
    await registry.change(theirs)
    assert await registry.scan(folder(spec=replace(SPEC, version="2.0.0"))) == ["package_invalid echo"]
    assert await registry.agent() == theirs


async def test_once_the_other_node_has_let_go_of_it_the_agent_is_registered(registry: Registry) -> None:
    await registry.scan(folder())
    agent = await registry.agent()
    await registry.change(replace(agent, node_id="node-elsewhere"))
    await registry.store.write(lambda transaction: transaction.remove_package(NODE, "echo"))
    await registry.scan(folder())
    await registry.change(agent)
    await registry.scan(folder())
    assert (await registry.packages())["echo"].status is PackageStatus.AVAILABLE


async def test_without_autostart_it_is_ready_and_waits(registry: Registry) -> None:
    await registry.scan(folder(spec=replace(SPEC, autostart=False)))
    agent = await registry.agent()
    assert (agent.lifecycle, agent.start_serial) == (Lifecycle.READY, 0)


async def test_a_registration_is_told_with_model_and_number_of_capabilities(registry: Registry) -> None:
    spec = replace(SPEC, model="gpt-oss:20b", capabilities=(Capability(name="shout"), Capability(name="sing")))
    await registry.scan(folder(spec=spec))
    (event,) = await registry.store.read(lambda transaction: transaction.events(0, 10))
    assert event.data == {"version": "1.0.0", "digest": "", "model": "gpt-oss:20b", "capabilities": 2}


async def test_where_nothing_has_changed_nothing_is_told_and_nothing_written(registry: Registry) -> None:
    bad = folder("bad", spec=None)
    await registry.scan(folder(), bad)
    before = (await registry.agent(), await registry.packages())
    assert await registry.scan(folder(), bad) == []
    assert (await registry.agent(), await registry.packages()) == before


async def test_a_changed_manifest_changes_the_agent_but_not_what_its_user_wants(registry: Registry) -> None:
    await registry.scan(folder())
    await registry.change((await registry.agent()).stopped(5.0))
    changed = replace(SPEC, version="2.0.0", replicas=3, config={"greeting": "hi"})
    assert await registry.scan(folder(spec=changed)) == ["updated echo"]
    agent = await registry.agent()
    assert agent.spec.version == "2.0.0"
    assert (agent.replicas, agent.config) == (3, {"greeting": "hi"})
    assert agent.lifecycle is Lifecycle.READY


async def test_replicas_and_config_of_the_user_survive_a_changed_manifest(registry: Registry) -> None:
    await registry.scan(folder())
    await registry.change(replace(await registry.agent(), replicas=5, config={"greeting": "mine"}))
    await registry.scan(folder(spec=replace(SPEC, replicas=2, config={"greeting": "theirs"})))
    agent = await registry.agent()
    assert (agent.replicas, agent.config) == (5, {"greeting": "mine"})
    assert (agent.spec.replicas, agent.spec.config) == (2, {"greeting": "theirs"})


async def test_an_invalid_manifest_is_told_and_the_agent_keeps_its_last_valid_one(registry: Registry) -> None:
    await registry.scan(folder())
    before = await registry.agent()
    assert await registry.scan(folder(spec=None)) == ["package_invalid echo"]
    package = (await registry.packages())["echo"]
    assert (package.status, package.faults, package.spec) == (PackageStatus.INVALID, (FAULT,), SPEC)
    assert await registry.agent() == before
    events = await registry.store.read(lambda transaction: transaction.events(1, 10))
    assert events[-1].message == "echo/agent.yaml:3: replicas must be a number"


@pytest.mark.parametrize(
    ("mended", "event"), [(SPEC, "package_mended echo"), (replace(SPEC, version="2.0.0"), "updated echo")]
)
async def test_a_mended_manifest_is_told(registry: Registry, mended: AgentSpec, event: str) -> None:
    await registry.scan(folder())
    await registry.scan(folder(spec=None))
    assert await registry.scan(folder(spec=mended)) == [event]
    package = (await registry.packages())["echo"]
    assert (package.status, package.faults) == (PackageStatus.AVAILABLE, ())


async def _mended_while(registry: Registry, status: InstanceStatus, *, spec: AgentSpec = SPEC) -> tuple[Agent, Agent]:
    """The agent before and after its package was faulty and became what it was; `status` is its instance's."""
    await registry.scan(folder(spec=spec))
    before = await registry.agent()
    instance = Instance(
        agent_id="echo", ordinal=0, epoch=1, target=Target(run=True, spec=spec), status=status, since_wall=1.0
    )
    assert await registry.store.write(lambda transaction: transaction.observe(instance, NODE))
    await registry.scan(folder(spec=None))
    assert await registry.scan(folder(spec=spec)) == ["package_mended echo"]
    return before, await registry.agent()


async def test_a_package_mended_to_what_it_was_starts_what_was_given_up_and_says_so(registry: Registry) -> None:
    before, after = await _mended_while(registry, InstanceStatus.ERROR)
    # A start, no restart: siblings that run go on.
    assert after == replace(before, start_serial=before.start_serial + 1, updated_at=after.updated_at)
    assert (await last_event(registry)).message == "package echo is valid again; what was given up is started"


@pytest.mark.parametrize("status", [InstanceStatus.RUNNING, InstanceStatus.STOPPED, InstanceStatus.BACKOFF])
async def test_a_package_mended_to_what_it_was_leaves_alone_what_was_not_given_up(
    registry: Registry, status: InstanceStatus
) -> None:
    before, after = await _mended_while(registry, status)
    assert after == before
    assert (await last_event(registry)).message == "package echo is valid again"


async def test_where_changes_start_nothing_a_mended_package_does_not_either(registry: Registry) -> None:
    before, after = await _mended_while(registry, InstanceStatus.ERROR, spec=replace(SPEC, on_change=OnChange.KEEP))
    assert after == before


async def test_an_agent_that_was_stopped_stays_so_when_its_package_is_mended(registry: Registry) -> None:
    await registry.scan(folder())
    stopped = (await registry.agent()).stopped(5.0)
    await registry.change(stopped)
    await _mended_while(registry, InstanceStatus.ERROR)
    assert await registry.agent() == stopped


async def test_what_was_never_valid_is_told_and_forgotten_with_its_folder(registry: Registry) -> None:
    assert await registry.scan(folder("bad_one", spec=None)) == ["package_invalid bad-one"]
    assert await registry.scan() == ["package_removed bad-one"]
    assert await registry.packages() == {}


async def test_a_name_that_gives_no_agent_id_is_told_under_one_that_every_subject_can_carry(registry: Registry) -> None:
    assert await registry.scan(folder("Bad Name", spec=None)) == ["package_invalid package"]
    with pytest.raises(InvalidRequestError, match="reserved"):
        check_agent_id("package")


async def test_a_folder_that_goes_stops_its_agent_and_one_that_comes_back_starts_it(registry: Registry) -> None:
    await registry.scan(folder())
    assert await registry.scan() == ["package_removed echo"]
    assert not (await registry.agent()).should_run
    assert (await registry.packages())["echo"].status is PackageStatus.UNAVAILABLE
    assert await registry.scan() == []
    assert await registry.scan(folder()) == ["updated echo"]
    assert (await registry.agent()).should_run


async def test_a_renamed_folder_takes_its_agent_with_it(registry: Registry) -> None:
    await registry.scan(folder("my_agent"))
    assert await registry.scan(folder("my-agent")) == ["updated my-agent", "package_removed my-agent"]
    agent = await registry.agent("my-agent")
    assert (agent.package, agent.should_run) == ("my-agent", True)
    assert set(await registry.packages()) == {"my-agent"}
    assert await registry.scan(folder("my-agent")) == []


async def test_a_folder_dropped_in_does_not_take_another_packages_agent_over(registry: Registry) -> None:
    await registry.scan(folder("my_bot"))
    before = await registry.agent("my-bot")
    for newcomer, own_faults in ((folder("my-bot"), ()), (folder("my-bot", spec=None), (FAULT,))):
        assert await registry.scan(newcomer, folder("my_bot")) == ["package_invalid my-bot"]
        packages = await registry.packages()
        assert (packages["my_bot"].status, packages["my_bot"].faults) == (PackageStatus.AVAILABLE, ())
        clash, *others = packages["my-bot"].faults
        assert "my_bot has it" in clash.message
        assert tuple(others) == own_faults
        assert await registry.agent("my-bot") == before
    assert await registry.scan(folder("my-bot", spec=None), folder("my_bot")) == []


async def test_an_agent_stays_with_its_package_while_that_is_faulty_and_goes_over_with_its_folder(
    registry: Registry,
) -> None:
    await registry.scan(folder("my_bot"))
    await registry.scan(folder("my-bot"), folder("my_bot", spec=None))
    assert (await registry.agent("my-bot")).package == "my_bot"
    assert (await registry.packages())["my_bot"].faults == (FAULT,)
    assert await registry.scan(folder("my-bot")) == ["updated my-bot", "package_removed my-bot"]
    assert (await registry.agent("my-bot")).package == "my-bot"


async def test_of_two_new_folders_with_one_agent_id_the_first_valid_one_has_it(registry: Registry) -> None:
    assert await registry.scan(folder("a-b", spec=None), folder("a_b")) == ["package_invalid a-b", "registered a-b"]
    assert (await registry.agent("a-b")).package == "a_b"
    assert await registry.scan(folder("a_b"), folder("e-f"), folder("e_f")) == [
        "registered e-f",
        "package_invalid e-f",
        "package_removed a-b",
    ]
    await registry.scan(folder("c-d", spec=None), folder("c_d", spec=None))
    packages = await registry.packages()
    assert packages["c-d"].faults == packages["c_d"].faults == (FAULT,)


async def test_two_packages_know_nothing_of_each_other(registry: Registry) -> None:
    assert await registry.scan(folder("one"), folder("two")) == ["registered one", "registered two"]
    two = await registry.agent("two")
    assert await registry.scan(folder("one", spec=None), folder("two")) == ["package_invalid one"]
    assert await registry.scan(folder("two")) == ["package_removed one"]
    assert await registry.agent("two") == two


async def test_packages_of_other_nodes_are_left_alone(registry: Registry) -> None:
    other = Package(
        name="theirs", node_id="node-2", path="/x", agent_id=None, status=PackageStatus.INVALID, updated_at=1.0
    )
    await registry.store.write(lambda transaction: transaction.save_package(other))
    assert await registry.scan() == []
    assert await registry.packages() == {"theirs": other}


# ---------------------------------------------------------------- versions

ONE, TWO = "1" * 64, "2" * 64


def version(digest: str, *, name: str = "echo", changed: tuple[str, ...] = (), **spec: Any) -> FoundPackage:
    found = folder(name, spec=replace(SPEC, digest=digest, **spec))
    return replace(found, digest=digest, changed=changed)


async def last_event(registry: Registry) -> Event:
    return (await registry.store.read(lambda transaction: transaction.events(0, 100)))[-1]


async def test_changed_files_restart_what_runs_and_the_event_says_from_what_to_what(registry: Registry) -> None:
    await registry.scan(version(ONE))
    before = await registry.agent()
    assert await registry.scan(version(TWO, changed=("agent.py",))) == ["updated echo"]
    after = await registry.agent()
    assert after.restart_serial == before.restart_serial + 1
    assert after.start_serial == before.start_serial + 1
    event = await last_event(registry)
    assert event.message == (
        "package echo has changed (agent.py): 111111111111 → 222222222222; its instances are restarted"
    )
    assert (event.data["from_digest"], event.data["to_digest"]) == (ONE, TWO)
    assert (await registry.packages())["echo"].digest == TWO


async def test_a_package_may_keep_what_runs_until_it_is_restarted(registry: Registry) -> None:
    await registry.scan(version(ONE, on_change=OnChange.KEEP))
    before = await registry.agent()
    await registry.scan(version(TWO, on_change=OnChange.KEEP))
    after = await registry.agent()
    assert (after.restart_serial, after.spec.digest) == (before.restart_serial, TWO)
    assert "instances keep what they run until they are restarted" in (await last_event(registry)).message


async def test_an_agent_that_is_stopped_stays_so_when_its_files_change(registry: Registry) -> None:
    await registry.scan(version(ONE))
    await registry.change((await registry.agent()).stopped(5.0))
    await registry.scan(version(TWO))
    assert (await registry.agent()).lifecycle is Lifecycle.READY


async def test_what_was_registered_before_there_were_digests_is_not_restarted_for_getting_one(
    registry: Registry,
) -> None:
    await registry.scan(version(""))
    before = await registry.agent()
    await registry.scan(version(ONE))
    assert (await registry.agent()).restart_serial == before.restart_serial


async def test_a_folder_that_settles_changes_nothing(registry: Registry) -> None:
    await registry.scan(version(ONE))
    before = (await registry.agent(), await registry.packages())
    settling = replace(folder(spec=None), faults=(), stage=Stage.SETTLING)
    assert await registry.scan(settling) == []
    assert (await registry.agent(), await registry.packages()) == before


async def test_a_usable_folder_with_something_to_tell_is_told_about_and_goes_on(registry: Registry) -> None:
    await registry.scan(version(ONE))
    restless = replace(version(ONE), faults=(FAULT,))
    assert await registry.scan(restless) == ["package_unsettled echo"]
    assert await registry.scan(restless) == []
    package = (await registry.packages())["echo"]
    assert (package.status, package.faults) == (PackageStatus.AVAILABLE, (FAULT,))
    assert await registry.scan(version(ONE)) == ["package_mended echo"]


# ---------------------------------------------------------------- environments

NEED = EnvironmentNeed(key="k1", own="", folder="/packages/echo", file="requirements.txt", requirements=(), sdk=True)
NOT_MADE = ManifestFault(file="echo/requirements.txt", message="could not be made")


async def test_nothing_is_switched_to_a_version_whose_environment_is_not_there_yet(bench: Bench) -> None:
    environments = FakeEnvironments()
    source = FakeSource(found=[version(ONE)])
    looking = discovery(bench, source, environments)
    await looking.look()
    source.found = [replace(version(TWO), needs=NEED)]
    await looking.look()
    await looking.look()
    (agent,) = await bench.store.read(lambda transaction: transaction.agents())
    (package,) = await bench.store.read(lambda transaction: transaction.packages())
    assert agent.spec.digest == ONE
    assert (package.status, package.digest) == (PackageStatus.PREPARING, TWO)
    environments.may_end.set()
    await eventually(lambda: not source.changed.empty())
    await looking.look()
    (agent,) = await bench.store.read(lambda transaction: transaction.agents())
    assert (agent.spec.digest, agent.spec.environment) == (TWO, "/environments/k1")
    assert environments.begun == ["echo k1"]
    assert bench.announcer.types == ["registered", "package_preparing", "updated"]


async def test_an_environment_that_cannot_be_made_is_a_fault_until_it_is_changed_or_tried_again(bench: Bench) -> None:
    environments = FakeEnvironments(fault=NOT_MADE)
    environments.may_end.set()
    source = FakeSource(found=[replace(version(ONE), needs=NEED)])
    looking = discovery(bench, source, environments)
    commands = replace(bench.commands, preparation=looking.preparation)

    async def status() -> PackageStatus:
        await looking.look()
        (package,) = await bench.store.read(lambda transaction: transaction.packages())
        return package.status

    async def has_failed() -> bool:
        return await status() is PackageStatus.FAILED

    await eventually(has_failed)
    (package,) = await bench.store.read(lambda transaction: transaction.packages())
    assert package.faults == (NOT_MADE,)
    assert await status() is PackageStatus.FAILED
    assert len(environments.begun) == 1
    source.found = [replace(version(TWO), needs=NEED)]
    await eventually(has_failed)
    await eventually(lambda: len(environments.begun) == 2)
    await eventually(has_failed)
    environments.fault = None
    await commands.retry_package("echo", actor="me")
    await looking.look()
    await eventually(lambda: "k1" in environments.made)
    assert await status() is PackageStatus.AVAILABLE
    with pytest.raises(ConflictError, match="package echo is available"):
        await commands.retry_package("echo", actor="me")
    with pytest.raises(NotFoundError, match="package other not found"):
        await commands.retry_package("other", actor="me")


async def test_environments_are_kept_while_an_agent_or_a_process_uses_them(bench: Bench) -> None:
    environments = FakeEnvironments(made={"k1": "/environments/k1", "k2": "/environments/k2"})
    bench.follow_desired_state()
    source = FakeSource(found=[replace(version(ONE, on_change=OnChange.KEEP), needs=NEED)])
    looking = discovery(bench, source, environments)
    await looking.look()
    await bench.started()
    source.found = [replace(version(TWO, on_change=OnChange.KEEP), needs=replace(NEED, key="k2"))]
    await looking.look()
    assert set(environments.kept) == {"/environments/k1", "/environments/k2"}


# ---------------------------------------------------------------- discovery


def discovery(bench: Bench, source: FakeSource, environments: FakeEnvironments | None = None) -> Discovery:
    environments = environments or FakeEnvironments()
    return Discovery(
        source=source,
        preparation=Preparation(environments=environments, source=source, tasks=bench.tasks),
        store=bench.store,
        announcer=bench.announcer,
        reconciler=bench.reconciler,
        clock=bench.clock,
        node_id=NODE,
    )


async def test_what_is_found_is_announced_and_started(bench: Bench) -> None:
    bench.follow_desired_state()
    source = FakeSource(found=[folder()])
    bench.tasks.create_task(discovery(bench, source).run())
    source.changed.put_nowait(None)
    await bench.started()
    assert bench.announcer.types[0] == "registered"


@pytest.mark.parametrize("away", ["store", "folders"])
async def test_a_look_that_fails_is_repeated_without_another_change(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    monkeypatch.setattr(registration, "RETRY_S", 0.01)
    source = FakeSource(found=[folder()])
    broken = bench.store if away == "store" else source
    broken.away = True
    looking = discovery(bench, source)
    assert not await looking.look()
    bench.tasks.create_task(looking.run())
    source.changed.put_nowait(None)
    await eventually(source.changed.empty)
    broken.away = False
    await eventually(lambda: "registered" in bench.announcer.types)


async def test_looks_that_fail_are_logged_once_per_cause_and_once_when_it_is_over(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=registration.__name__)
    source = FakeSource()
    looking = discovery(bench, source)
    bench.store.away = True
    for _ in range(3):
        assert not await looking.look()
    bench.store.away = False
    for _ in range(2):
        assert await looking.look()
    assert [record.message for record in caplog.records] == ["registration_delayed", "registration_resumed"]


async def test_folders_that_are_away_keep_their_agents_and_are_told_once_and_when_they_are_back(bench: Bench) -> None:
    source = FakeSource(found=[folder()])
    looking = discovery(bench, source)
    assert await looking.look()
    source.away = True
    for _ in range(3):
        assert not await looking.look()
    (agent,) = await bench.store.read(lambda transaction: transaction.agents())
    assert agent.should_run
    source.away = False
    for _ in range(2):
        assert await looking.look()
    assert bench.announcer.types == ["registered", "packages_unavailable", "packages_available"]
    events = await bench.store.read(lambda transaction: transaction.events(0, 10))
    assert events[1].message == "the folder cannot be listed; agents are kept as they are until then"
