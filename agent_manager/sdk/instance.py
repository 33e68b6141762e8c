"""One instance from its first heartbeat to its last: its parts put together, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from agent_manager.protocol import commands, subjects
from agent_manager.sdk.announcement import Announcement
from agent_manager.sdk.built_in import StatusCommands
from agent_manager.sdk.calling import Function, call, name_of
from agent_manager.sdk.command_dispatch import CommandDispatch
from agent_manager.sdk.command_slots import CommandSlots
from agent_manager.sdk.configuration import Configuration
from agent_manager.sdk.connection import Connection
from agent_manager.sdk.definition import Definition
from agent_manager.sdk.ending import Ending, ExitCode
from agent_manager.sdk.health import HealthCheck
from agent_manager.sdk.heartbeat import Heartbeat
from agent_manager.sdk.launch_environment import LaunchSettings
from agent_manager.sdk.metrics import Metrics, MetricsFeed
from agent_manager.sdk.reception import Reception
from agent_manager.sdk.status import Status

LEAVING_S = 1.0
"""How long leaving the shared subjects may delay the stop, which a manager cuts short."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What an author may set; see `Agent`."""

    max_concurrent_commands: int
    stop_grace_s: float
    metrics_interval_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What an instance is made of, as its author and its environment gave it."""

    definition: Definition
    options: Options
    settings: LaunchSettings
    metrics: Metrics
    configuration: Configuration


class Instance:
    """A connected instance. Its tasks belong to `tasks`, which outlives it and is then to be cancelled."""

    def __init__(self, parts: Parts, connection: Connection, ending: Ending, tasks: asyncio.TaskGroup) -> None:
        identity = parts.settings.identity
        speaker = subjects.LaunchSubject(identity.node_id, identity.instance_id, identity.launch_id)
        self._parts = parts
        self._ending = ending
        self._tasks = tasks
        self._backgrounds: list[asyncio.Task[None]] = []
        self._status = Status()
        self._slots = CommandSlots(parts.options.max_concurrent_commands)
        self._heartbeat = Heartbeat(
            self._status,
            connection,
            subject=subjects.launch_status(speaker),
            incarnation=identity.incarnation,
            load=lambda: self._slots.load,
        )
        connection.on_reconnected(self._heartbeat.beat)
        self._metrics_feed = MetricsFeed(
            parts.metrics,
            connection,
            subject=subjects.launch_metrics(speaker),
            interval_s=parts.options.metrics_interval_s,
        )
        self._reception = Reception(identity, connection, tasks)
        self._announcement = Announcement(identity, connection, self._reception.endpoints)
        self._status_commands = StatusCommands(
            identity=identity,
            status=self._status,
            heartbeat=self._heartbeat,
            slots=self._slots,
            leave=self._reception.leave,
        )
        self._dispatch = self._dispatch_over(connection)

    async def live(self) -> None:
        """Start, run until the end is reached, stop."""
        if await self._ending.unless(self._guarded("the start", self._start)):
            self._start_backgrounds()
        await self._ending.wait()
        await self._stop()

    def _dispatch_over(self, connection: Connection) -> CommandDispatch:
        parts = self._parts
        agent_id = parts.settings.identity.agent_id
        return CommandDispatch(
            agent_id=agent_id,
            response_subject=subjects.agent_response(agent_id),
            built_in={
                **self._status_commands.table(),
                commands.HEALTH: HealthCheck(parts.definition.health, self._tasks).command,
                commands.CONFIG: parts.configuration.command,
            },
            own=parts.definition.commands,
            status=self._status,
            slots=self._slots,
            connection=connection,
            tasks=self._tasks,
        )

    async def _start(self) -> None:
        await self._reception.open(self._dispatch)
        await self._heartbeat.beat()
        interval_s = self._parts.settings.heartbeat_interval_s
        if interval_s is not None:
            self._tasks.create_task(self._heartbeat.run(interval_s), name="heartbeat")
        self._tasks.create_task(self._metrics_feed.run(), name="metrics")
        if self._parts.definition.on_start is not None:
            await call(self._parts.definition.on_start)
        self._status.start()
        await self._reception.join()
        await self._announcement.begin()
        await self._heartbeat.beat()

    def _start_backgrounds(self) -> None:
        for function in self._parts.definition.backgrounds:
            name = f"background {name_of(function)}"
            self._backgrounds.append(self._tasks.create_task(self._guarded(name, function), name=name))

    async def _stop(self) -> None:
        await self._status_commands.drain(leaving_s=LEAVING_S)
        await self._slots.finish(self._parts.options.stop_grace_s)
        for background in self._backgrounds:
            background.cancel()
        if self._backgrounds:
            await asyncio.wait(self._backgrounds)
        on_stop = self._parts.definition.on_stop
        if on_stop is not None and self._status.started:
            await self._guarded("on_stop", on_stop)
        await self._metrics_feed.publish()

    async def _guarded(self, what: str, function: Function) -> None:
        """Whatever `function` raises ends the agent, with its traceback in the log."""
        try:
            await call(function)
        except Exception:
            _log.exception("%s failed; the agent ends", what)
            self._ending.give(ExitCode.FAILED)
