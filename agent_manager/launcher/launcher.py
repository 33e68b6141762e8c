"""The launcher as a whole: builds the parts, connects them, runs the loop."""

import gc
import os
import signal
from dataclasses import replace

from agent_manager.launcher import cgroups, handover, linux, state_file
from agent_manager.launcher.cgroups import Cgroups
from agent_manager.launcher.children import Children
from agent_manager.launcher.controller import Controller
from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.fields import Fields, natural, naturals
from agent_manager.launcher.instances import Instances
from agent_manager.launcher.process_tree import ProcessTrees
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.reload import Reload
from agent_manager.launcher.run_tag import RunTag
from agent_manager.launcher.service_manager import ServiceManager
from agent_manager.launcher.service_runner import ServiceRunner
from agent_manager.launcher.service_table import ServiceTable
from agent_manager.launcher.services import Services
from agent_manager.launcher.shutdown import Shutdown
from agent_manager.launcher.spawning import Spawner
from agent_manager.launcher.zygotes import Zygotes


class Launcher:
    """Runs a service table until it is told to stop."""

    def __init__(
        self, table: ServiceTable, *, lock: int, arguments: tuple[str, ...], resumed: Fields | None = None
    ) -> None:
        """`lock` is the descriptor of the locked file, `arguments` are those of this program.

        `resumed` is the state of the launcher whose place it takes, None for the first. Raises OSError, FieldError.
        """
        self._table = table
        self._lock = lock
        self._in_order = False
        self._resumed = resumed is not None
        self._loop = EventLoop()
        if resumed is None:
            self._above = ServiceManager.taken_from(os.environ, self._loop)
            self._tag = RunTag.fresh(table.installation)
            self._spawner = Spawner()
            self._cgroups = cgroups.detect(table.installation) if table.cgroups else None
            self._reloads = 0
        else:
            self._above = ServiceManager.restore(resumed.object("above"), self._loop)
            self._tag = RunTag.restore(resumed.object("tag"))
            soft, hard = resumed.get("open_files", naturals)
            self._spawner = Spawner((soft, hard))
            self._cgroups = Cgroups.restore(resumed.object("cgroups")) if resumed.has("cgroups") else None
            self._reloads = resumed.get("reloads", natural)
        self._children = Children(self._loop, self._spawner)
        self._pump = PumpClient(self._loop, self._children, os.environ | self._tag.environment, self._cgroups)
        self._build()
        if resumed is not None:
            self._restore(resumed)
        self._reload = Reload(
            loop=self._loop,
            children=self._children,
            instances=self._instances,
            pump=self._pump,
            services=self._services,
            shutdown=self._shutdown,
            above=self._above,
            arguments=arguments,
            export=self._export,
        )

    def _build(self) -> None:
        table = self._table
        trees = ProcessTrees(self._children)
        zygotes = Zygotes(
            self._loop,
            self._children,
            self._pump,
            env=self._tag.environment,
            open_files=self._spawner.open_files,
            log_dir=table.log_dir,
        )
        self._instances = Instances(
            loop=self._loop,
            children=self._children,
            trees=trees,
            pump=self._pump,
            zygotes=zygotes,
            cgroups=self._cgroups,
            tag=self._tag,
        )
        controllers = self._cgroups.controllers if self._cgroups is not None else None
        controller = Controller(self._loop, self._instances, run=self._tag.run, cgroup_controllers=controllers)
        self._runners = [
            ServiceRunner(
                service,
                loop=self._loop,
                children=self._children,
                pump=self._pump,
                controller=controller,
                tag=self._tag,
                log_dir=table.log_dir,
            )
            for service in table.services
        ]
        told = {"cgroups": sorted(controllers) if controllers is not None else None}
        state = replace(table.state_file, content=table.state_file.content | told)
        self._services = Services(self._runners, state, self._above, reloads=self._reloads)
        self._shutdown = Shutdown(
            loop=self._loop,
            children=self._children,
            trees=trees,
            pump=self._pump,
            instances=self._instances,
            controller=controller,
            runners=self._runners,
            above=self._above,
            timeout_s=table.stop_timeout_s,
            on_ended=self._on_ended,
        )

    def _restore(self, resumed: Fields) -> None:
        self._pump.restore(resumed.objects("streams"))
        self._instances.restore(resumed.object("instances"))
        services = resumed.object("services")
        for runner in self._runners:
            if services.has(runner.service.name):
                runner.restore(services.object(runner.service.name))

    def _export(self) -> tuple[handover.State, list[int]]:
        """The state for the launcher that takes this one's place, and the descriptors that belong to it."""
        streams = self._pump.export()
        state = {
            "above": self._above.export(),
            "tag": self._tag.export(),
            "open_files": self._spawner.open_files,
            "lock": self._lock,
            "cgroups": self._cgroups.export() if self._cgroups is not None else None,
            "reloads": self._reloads + 1,
            "streams": streams,
            "instances": self._instances.export(),
            "services": {runner.service.name: runner.export() for runner in self._runners},
        }
        return state, [self._lock, *(stream["read_end"] for stream in streams)]

    def run(self) -> bool:
        """Run until everything has ended. Whether it has ended in order. Raises OSError."""
        linux.become_subreaper()
        if not self._resumed and not self._tag.kill_other_runs():
            warn("processes of an earlier run do not die")
        # As PID 1 of a container it gets none of them that it does not handle.
        self._loop.on_signals((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), self._shutdown.request)
        self._loop.on_signals((signal.SIGHUP,), self._on_hangup)
        self._loop.on_signals((signal.SIGUSR2,), self._reload.request)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        gc.freeze()
        self._above.watch()
        self._pump.start()
        self._services.start()
        if self._resumed:
            # What has ended while the place was changed hands was told to nobody.
            self._loop.call_later(0.0, self._children.reap)
        self._loop.run()
        self._loop.close()
        self._above.close()
        if self._cgroups is not None:
            self._cgroups.close()
        state_file.remove(self._table.state_file)
        return self._in_order

    def _on_hangup(self) -> None:
        if self._table.hangup == "reload":
            self._services.reload()
        else:
            self._shutdown.request()

    def _on_ended(self, in_order: bool) -> None:
        self._in_order = in_order
        self._loop.stop()
