"""The manager process: starts what bootstrap has built, in order, and stops it in the reverse order.

Started by the launcher, with its end of the connection as an inherited descriptor. Supervision begins with the
launcher's first frame, before there is a database or a bus.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from enum import IntEnum

from agent_manager.bootstrap import Manager, build
from agent_manager.configuration.live import Live
from agent_manager.configuration.loading import ConfigurationError
from agent_manager.domain.errors import AgentManagerError
from agent_manager.ports.launcher import LauncherEvent, ShutdownRequested
from agent_manager.protocol.release import release
from agent_manager.services.trouble import Trouble
from agent_manager.settings.manager import MANAGER, ManagerSettings, NodeIds
from agent_manager.telemetry import log_lines, spans
from agent_manager.telemetry.spans import Spans

LAST_WORDS_S = 5.0
"""How long the last observations may take to be written and published when the node goes down."""
STORE_RETRY_S = 1.0
"""Pause between two attempts to open the store."""
UP_WITHOUT_BUS_S = 3.0
"""How long the node waits for the first connection to the bus before it counts as up without one."""
LONGEST_TURN_S = 0.001
"""How long one thread may run Python code while another one wants to."""

log = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """What the launcher is told, and logs. It starts the next manager in any case, unless the node goes down."""

    OK = 0
    """Asked to stop, by SIGTERM or by the launcher."""
    FAILED = 1
    """It failed, in a way nobody has foreseen; its log has the traceback."""
    BAD_SETTINGS = 2
    """The settings are wrong, or do not fit what is there; its log says what."""


class _OverError(Exception):
    """Ends the task group: everything has been stopped."""


class _RefusedError(Exception):
    """The settings do not fit what is there."""


class Daemon:
    """One run of the manager."""

    def __init__(self, settings: Live[ManagerSettings], node: NodeIds, spans: Spans) -> None:
        self._settings = settings
        self._node = node
        self._spans = spans
        self._supervises = asyncio.Event()
        self._told_to_end = asyncio.Event()
        self._node_goes_down = False

    async def run(self) -> None:
        """Run until the node goes down, or until SIGTERM: then agents run on and the next manager takes them over.

        Raises what makes going on impossible, such as the death of the launcher.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._told_to_end.set)
        loop.add_signal_handler(signal.SIGHUP, self._read_settings_again)
        try:
            async with asyncio.TaskGroup() as tasks:
                manager = self._built(tasks)
                await self._take_over(manager, tasks)
                self._observe(manager, tasks)
                desired = tasks.create_task(self._keep_desired_state(manager, tasks), name="desired state")
                up = tasks.create_task(self._tell_that_it_is_up(manager), name="node up")
                await self._told_to_end.wait()
                desired.cancel()
                up.cancel()
                await self._stop(manager, stop_agents=self._node_goes_down)
                raise _OverError
        except* _OverError:
            log.info("manager_stopped")

    def _built(self, tasks: asyncio.TaskGroup) -> Manager:
        try:
            return build(self._settings, self._node, os.environ, tasks, self._spans)
        except AgentManagerError as error:
            raise _RefusedError(error.message) from error

    async def _take_over(self, manager: Manager, tasks: asyncio.TaskGroup) -> None:
        slots = await manager.launcher.connect()
        manager.supervisor.adopt(slots)

        def on_event(event: LauncherEvent) -> None:
            if isinstance(event, ShutdownRequested):
                self._shut_down(manager, hurry=event.hurry)
            else:
                manager.supervisor.launcher_event(event)

        tasks.create_task(manager.launcher.run(on_event), name="launcher")
        tasks.create_task(manager.eyesight.run(manager.bus.round_trip, manager.reports.are_behind), name="pulse")
        tasks.create_task(manager.feed.run(), name="feed")
        tasks.create_task(manager.following.run(), name="log following")
        # Before the bus, for which the manager's own credentials may have expired while there was no manager.
        manager.renewal.look()
        tasks.create_task(manager.renewal.run(), name="renewal")
        tasks.create_task(manager.bus.run(), name="bus")

    def _observe(self, manager: Manager, tasks: asyncio.TaskGroup) -> None:
        if manager.metrics is not None:
            tasks.create_task(manager.metrics.run(), name="metrics")

    async def _keep_desired_state(self, manager: Manager, outliving: asyncio.TaskGroup) -> None:
        """Discovery, then registry, then agents (R21).

        The journal is a task of `outliving`: it is still needed when nothing is desired any more.
        """
        await self._open_store(manager)
        outliving.create_task(manager.journal.run(), name="journal")
        outliving.create_task(manager.publisher.run(), name="event publisher")
        looked = await manager.discovery.look()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(manager.reconciler.run(), name="reconciler")
            tasks.create_task(manager.retention.run(), name="retention")
            tasks.create_task(manager.discovery.run(looked=looked), name="discovery")
            self._supervises.set()

    async def _tell_that_it_is_up(self, manager: Manager) -> None:
        """The launcher hears it once agents are supervised and requests find the manager, or the bus is not there."""
        await self._supervises.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UP_WITHOUT_BUS_S):
                await manager.bus.first_up()
        manager.launcher.ready()

    async def _open_store(self, manager: Manager) -> None:
        """Try until it is open. The node counts as up without it: it supervises, and says why it takes no commands."""
        delay = Trouble(log, begins="store_not_open", ends="store_opened_late")
        while True:
            try:
                await manager.store.open()
            except AgentManagerError as error:
                delay.met(error.message)
                self._supervises.set()
                await asyncio.sleep(STORE_RETRY_S)
            else:
                delay.over()
                return

    def _read_settings_again(self) -> None:
        self._settings.reload_and_log(os.environ)
        log_lines.set_level(self._settings.now.service.log_level)

    def _shut_down(self, manager: Manager, *, hurry: bool) -> None:
        self._node_goes_down = True
        self._told_to_end.set()
        if hurry:
            manager.supervisor.hurry()

    async def _stop(self, manager: Manager, *, stop_agents: bool) -> None:
        if stop_agents:
            await manager.supervisor.stop_all()
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await manager.journal.flushed()
                if manager.bus.client is not None:
                    await manager.publisher.flushed()
                await manager.feed.sent()
        except TimeoutError:
            log.error("observations_not_written", extra={"waited_s": LAST_WORDS_S})
        await manager.bus.close()
        await manager.store.close()
        await manager.launcher.close()


def main() -> None:
    """Entry point: `python -P -m agent_manager.daemon`, started by the launcher."""
    try:
        loaded = MANAGER.load(os.environ)
    except ConfigurationError as error:
        log_lines.configure("INFO")
        for fault in error.faults:
            log.error("settings_refused", extra={"fault": fault})
        sys.exit(ExitCode.BAD_SETTINGS)
    service = loaded.settings.service
    log_lines.configure(service.log_level, service.log_format)
    settings = Live(MANAGER, loaded)
    settings.log_unused()
    # The writer's thread must not keep the loop, which supervises, from the interpreter for longer than that.
    sys.setswitchinterval(LONGEST_TURN_S)
    recording = spans.of_environment(os.environ, service=service.name, version=release())
    # What is loaded stays: looking through it for garbage, again and again, finds none.
    gc.freeze()
    try:
        asyncio.run(Daemon(settings, NodeIds.of(os.environ), recording).run())
    except* _RefusedError as group:
        for refused in group.exceptions:
            log.critical("settings_refused", extra={"fault": str(refused)})
        sys.exit(ExitCode.BAD_SETTINGS)
    finally:
        recording.close()


if __name__ == "__main__":
    main()
