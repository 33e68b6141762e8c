"""The end of everything, in reverse order, as far as possible by request and at last by force."""

import signal
from collections.abc import Callable, Sequence
from functools import partial

from agent_manager.launcher.children import Children
from agent_manager.launcher.controller import Controller
from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.instances import Instances
from agent_manager.launcher.process_tree import ProcessTrees
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.service_manager import ServiceManager
from agent_manager.launcher.service_runner import ServiceRunner

_INSTANCE_STOP_S = 5.0
_HURRY_S = 2.0
_FORCE_S = 5.0
_LOOK_AGAIN_S = 0.01


class Shutdown:
    """Stops services and instances; the first request begins, the second hurries."""

    def __init__(
        self,
        *,
        loop: EventLoop,
        children: Children,
        trees: ProcessTrees,
        pump: PumpClient,
        instances: Instances,
        controller: Controller,
        runners: Sequence[ServiceRunner],
        above: ServiceManager,
        timeout_s: float,
        on_ended: Callable[[bool], None],
    ) -> None:
        """After `timeout_s` it hurries unasked. `on_ended` is told whether everything has ended in order."""
        self._loop = loop
        self._children = children
        self._trees = trees
        self._pump = pump
        self._instances = instances
        self._controller = controller
        self._runners = runners
        self._above = above
        self._timeout_s = timeout_s
        self._on_ended = on_ended
        self._turns = list(runners)
        self._begun = False
        self._hurrying = False

    @property
    def begun(self) -> bool:
        """Whether the end has begun."""
        return self._begun

    def request(self) -> None:
        """Begin, or hurry if it has begun already."""
        if self._begun:
            self._hurry()
            return
        self._begun = True
        self._above.stopping("Stopping")
        self._pump.hasten()
        for runner in self._runners:
            runner.retire()
        self._loop.call_later(self._timeout_s, self._hurry)
        self._next_turn()

    def _next_turn(self) -> None:
        if self._turns:
            runner = self._turns.pop()
            self._above.stopping(f"Stopping {runner.service.name}")
            runner.stop(self._stop_instances if runner.is_controller else self._next_turn)
        else:
            self._kill_the_rest()

    def _stop_instances(self) -> None:
        self._instances.start_no_more()
        self._instances.signal_all(signal.SIGTERM)
        self._loop.call_later(_INSTANCE_STOP_S, partial(self._instances.signal_all, signal.SIGKILL))
        self._instances.when_all_empty(self._next_turn)

    def _kill_the_rest(self) -> None:
        """What services have left behind, and what the launcher has started for itself; all but the pump."""
        orphans, others = self._trees.kill_orphans(), self._children.kill_all(but=self._pump.pid)
        if orphans or others:
            self._loop.call_later(_LOOK_AGAIN_S, self._kill_the_rest)
        else:
            self._pump.end(partial(self._on_ended, True))

    def _hurry(self) -> None:
        if self._hurrying:
            return
        self._hurrying = True
        self._above.stopping("Stopping in a hurry")
        self._controller.shut_down(hurry=True)
        self._loop.call_later(_HURRY_S, self._kill_everything)

    def _kill_everything(self) -> None:
        self._instances.signal_all(signal.SIGKILL)
        for runner in self._runners:
            runner.kill()
        self._loop.call_later(_FORCE_S, self._give_up)

    def _give_up(self) -> None:
        warn("not everything has ended; what is left is killed with the launcher")
        self._on_ended(False)
