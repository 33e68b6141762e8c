"""All services of the node: the order of their start, the file that says what runs, and reading settings again."""

import os
from collections.abc import Sequence

from agent_manager.launcher import state_file
from agent_manager.launcher.service_manager import ServiceManager
from agent_manager.launcher.service_runner import ServiceRunner
from agent_manager.launcher.service_table import StateFile


class Services:
    """Starts services one after the other, each once the one before it is ready."""

    def __init__(
        self, runners: Sequence[ServiceRunner], state: StateFile, above: ServiceManager, *, reloads: int
    ) -> None:
        """`reloads` counts how often the launcher has given its place to another version."""
        self._reloads = reloads
        self._refusal: str | None = None
        self._refusals = 0
        self.runners = runners
        self._state = state
        self._above = above
        self._all_ready = False

    @property
    def all_ready(self) -> bool:
        """Whether the start is over."""
        return self._all_ready

    def start(self) -> None:
        """Start the first one; the others follow."""
        self._start_from(0)

    def reload(self) -> None:
        """Have every service that can do so read its configuration again."""
        if self._all_ready:
            self._above.reloading()
        for runner in self.runners:
            runner.reload()
        if self._all_ready:
            self._above.ready()

    def tell_refusal(self, reason: str) -> None:
        """Write down why the installed version did not take over."""
        self._refusal = reason
        self._refusals += 1
        self._write_state()

    def _start_from(self, index: int) -> None:
        if index < len(self.runners):
            runner = self.runners[index]
            self._above.starting(runner.service.name)
            runner.start(on_ready=lambda: self._start_from(index + 1), on_started=self._write_state)
        else:
            self._all_ready = True
            self._write_state()
            self._above.ready()

    def _write_state(self) -> None:
        if self._all_ready:
            pids = {runner.service.name: runner.pid for runner in self.runners}
            state_file.write(
                self._state,
                {"launcher": os.getpid()} | {name: pids[name] for name in self._state.pids},
                reloads=self._reloads,
                refusals=self._refusals,
                refusal=self._refusal,
            )
