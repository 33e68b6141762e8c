"""The tag that everything a launcher starts carries in its environment, and how to be rid of what carries it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent_manager.launcher.fields import Fields, name
from agent_manager.launcher.proc import all_processes, children_reader, descendants, environment_of, kill

_INSTALLATION_VARIABLE = "AGENT_MANAGER_INSTALLATION"
_RUN_VARIABLE = "AGENT_MANAGER_RUN"
_SWEEP_LIMIT_S = 5.0
_SWEEP_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class RunTag:
    """One run of the launcher of one installation."""

    installation: str
    run: str

    @classmethod
    def fresh(cls, installation: str) -> "RunTag":
        """A tag no other run has."""
        return cls(installation, os.urandom(8).hex())

    def export(self) -> dict[str, str]:
        """What `restore` takes."""
        return {"installation": self.installation, "run": self.run}

    @classmethod
    def restore(cls, fields: Fields) -> "RunTag":
        """The tag of an earlier launcher, whose children carry it. Raises FieldError."""
        return cls(fields.get("installation", name), fields.get("run", name))

    @classmethod
    def inherited(cls) -> "RunTag":
        """The tag this process carries itself. Raises KeyError."""
        return cls(os.environ[_INSTALLATION_VARIABLE], os.environ[_RUN_VARIABLE])

    @property
    def environment(self) -> dict[str, str]:
        """What to add to the environment of a process."""
        return {_INSTALLATION_VARIABLE: self.installation, _RUN_VARIABLE: self.run}

    def kill_this_run(self) -> bool:
        """Kill what carries this tag, this process excepted. Whether all of it is dead within five seconds."""
        return _kill_all(lambda environment: environment >= self._entries)

    def kill_other_runs(self) -> bool:
        """Kill what carries another run's tag of this installation. Whether all of it is dead within five seconds."""
        installation = _entry(_INSTALLATION_VARIABLE, self.installation)
        return _kill_all(lambda environment: installation in environment and not environment >= self._entries)

    @property
    def _entries(self) -> frozenset[bytes]:
        return frozenset(_entry(key, value) for key, value in self.environment.items())


def _entry(key: str, value: str) -> bytes:
    return os.fsencode(f"{key}={value}")


def _kill_all(matches: Callable[[frozenset[bytes]], bool]) -> bool:
    give_up_at = time.monotonic() + _SWEEP_LIMIT_S
    while tagged := _matching(matches):
        if time.monotonic() > give_up_at:
            return False
        for process in descendants(tagged, children_reader()):
            if process.pid != os.getpid():
                kill(process, signal.SIGKILL)
        time.sleep(_SWEEP_PAUSE_S)  # none of them is our child: nobody tells us of their end
    return True


def _matching(matches: Callable[[frozenset[bytes]], bool]) -> list[int]:
    found = (process.pid for process in all_processes() if process.pid != os.getpid())
    return [pid for pid in found if matches(environment_of(pid))]
