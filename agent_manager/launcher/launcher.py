"""The launcher as a whole: builds the parts, connects them, runs the loop."""

import gc
import os
import signal

from agent_manager.launcher import cgroups, linux, state_file
from agent_manager.launcher.children import Children
from agent_manager.launcher.controller import Controller
from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.instances import Instances
from agent_manager.launcher.process_tree import ProcessTrees
from agent_manager.launcher.pump_client import PumpClient
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

    def __init__(self, table: ServiceTable) -> None:
        """Raises OSError."""
        self._table = table
        self._in_order = False
        self._loop = EventLoop()
        self._above = ServiceManager.taken_from(os.environ, self._loop)
        self._tag = RunTag.fresh(table.installation)
        spawner = Spawner()
        children = Children(self._loop, spawner)
        trees = ProcessTrees(children)
        self._pump = PumpClient(self._loop, children, os.environ | self._tag.environment)
        zygotes = Zygotes(
            self._loop,
            children,
            self._pump,
            env=self._tag.environment,
            open_files=spawner.open_files,
            log_dir=table.log_dir,
        )
        self._cgroups = cgroups.detect(table.installation) if table.cgroups else None
        instances = Instances(
            loop=self._loop,
            children=children,
            trees=trees,
            pump=self._pump,
            zygotes=zygotes,
            cgroups=self._cgroups,
            tag=self._tag,
        )
        controller = Controller(
            self._loop,
            instances,
            run=self._tag.run,
            cgroup_controllers=self._cgroups.controllers if self._cgroups is not None else None,
        )
        runners = [
            ServiceRunner(
                service,
                loop=self._loop,
                children=children,
                pump=self._pump,
                controller=controller,
                tag=self._tag,
                log_dir=table.log_dir,
            )
            for service in table.services
        ]
        self._services = Services(runners, table.state_file, self._above)
        self._shutdown = Shutdown(
            loop=self._loop,
            children=children,
            trees=trees,
            pump=self._pump,
            instances=instances,
            controller=controller,
            runners=runners,
            above=self._above,
            timeout_s=table.stop_timeout_s,
            on_ended=self._on_ended,
        )

    def run(self) -> bool:
        """Run until everything has ended. Whether it has ended in order. Raises OSError."""
        linux.become_subreaper()
        if not self._tag.kill_other_runs():
            warn("processes of an earlier run do not die")
        # As PID 1 of a container it gets none of them that it does not handle.
        self._loop.on_signals((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), self._shutdown.request)
        self._loop.on_signals((signal.SIGHUP,), self._on_hangup)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        gc.freeze()
        self._above.watch()
        self._pump.start()
        self._services.start()
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
