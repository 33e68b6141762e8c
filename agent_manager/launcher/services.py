"""All services of the node: the order of their start, and the file that says what runs."""

import os
from collections.abc import Sequence

from agent_manager.launcher import state_file
from agent_manager.launcher.service_runner import ServiceRunner
from agent_manager.launcher.service_table import StateFile


class Services:
    """Starts services one after the other, each once the one before it is ready."""

    def __init__(self, runners: Sequence[ServiceRunner], state: StateFile) -> None:
        self._runners = runners
        self._state = state
        self._all_ready = False

    def start(self) -> None:
        """Start the first one; the others follow."""
        self._start_from(0)

    def _start_from(self, index: int) -> None:
        if index < len(self._runners):
            self._runners[index].start(on_ready=lambda: self._start_from(index + 1), on_started=self._write_state)
        else:
            self._all_ready = True
            self._write_state()

    def _write_state(self) -> None:
        if self._all_ready:
            pids = {runner.service.name: runner.pid for runner in self._runners}
            state_file.write(self._state, {"launcher": os.getpid()} | {name: pids[name] for name in self._state.pids})
