"""A cgroup (version 2) for every launch, where the launcher may make them: its tree can be bounded and killed for sure.

https://docs.kernel.org/admin-guide/cgroup-v2.html. Each ability is found out by itself: `cgroup.kill` has been there
since Linux 5.14, and a controller only where whoever is above has handed it down.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.fields import Fields, absolute_path, texts
from agent_manager.launcher.limits import Limits

CONTROLLERS = ("memory", "cpu", "pids")

_CPU_PERIOD_US = 100_000
_REMOVAL_LIMIT_S = 5.0
_REMOVAL_PAUSE_S = 0.01


class Cgroup:
    """The processes of one launch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self) -> dict[str, Any]:
        """What `restore` takes."""
        # Nobody reads `bounded` any more; the launcher before this one asks for it, should it be gone back to.
        return {"path": str(self._path), "bounded": []}

    @classmethod
    def restore(cls, fields: Fields) -> "Cgroup":
        """The cgroup of a launch of an earlier launcher. Raises FieldError."""
        return cls(Path(fields.get("path", absolute_path)))

    def open(self) -> int:
        """A descriptor of its directory. Raises OSError."""
        return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def is_populated(self) -> bool:
        """Whether a process of it lives."""
        return "populated 1" in _read(self._path / "cgroup.events")

    def members(self) -> list[int]:
        """The processes in it at this moment."""
        return [int(pid) for pid in _read(self._path / "cgroup.procs").split()]

    def kill(self) -> None:
        """SIGKILL every process in it, whatever they are doing."""
        with contextlib.suppress(OSError):
            (self._path / "cgroup.kill").write_text("1")

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        for line in _read(self._path / "memory.events").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0

    def remove(self) -> None:
        """Give it up; it must be empty."""
        with contextlib.suppress(OSError):
            self._path.rmdir()
            return
        # What an agent has made below it goes first.
        for directory in sorted(self._path.rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                directory.rmdir()
        try:
            self._path.rmdir()
        except OSError as error:
            warn(f"cgroup {self._path}: {error.strerror}")


class Cgroups:
    """The cgroups of a launcher, below the one it was started in."""

    def __init__(self, base: Path, controllers: frozenset[str]) -> None:
        self._base = base
        self.controllers = controllers

    def export(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {"base": str(self._base), "controllers": sorted(self.controllers)}

    @classmethod
    def restore(cls, fields: Fields) -> "Cgroups":
        """The cgroups of an earlier launcher. Raises FieldError."""
        return cls(Path(fields.get("base", absolute_path)), frozenset(fields.get("controllers", texts)))

    def make(self, launch_id: str, limits: Limits) -> Cgroup:
        """One for a launch, with its bounds. Raises OSError."""
        path = self._base / f"launch-{launch_id.replace('/', '_')}"
        path.mkdir()
        cgroup = Cgroup(path)
        try:
            for file, value in self._bounds(limits):
                (path / file).write_text(value)
        except OSError:
            cgroup.remove()
            raise
        return cgroup

    def clear(self) -> None:
        """Kill and remove all there are, within five seconds."""
        left = [Cgroup(path) for path in self._base.glob("launch-*")]
        for cgroup in left:
            cgroup.kill()
        give_up_at = time.monotonic() + _REMOVAL_LIMIT_S
        while any(cgroup.is_populated for cgroup in left) and time.monotonic() < give_up_at:
            time.sleep(_REMOVAL_PAUSE_S)
        for cgroup in left:
            cgroup.remove()

    def close(self) -> None:
        """Give up what is empty."""
        with contextlib.suppress(OSError):
            self._base.rmdir()

    def _bounds(self, limits: Limits) -> Iterator[tuple[str, str]]:
        if "memory" in self.controllers and limits.memory_bytes is not None:
            yield "memory.max", str(limits.memory_bytes)
            yield "memory.oom.group", "1"
            if (self._base / "memory.swap.max").exists():
                yield "memory.swap.max", "0"
        if "cpu" in self.controllers and limits.cpu is not None:
            yield "cpu.max", f"{round(limits.cpu * _CPU_PERIOD_US)} {_CPU_PERIOD_US}"
        if "pids" in self.controllers and limits.processes is not None:
            yield "pids.max", str(limits.processes)


def detect(installation: str) -> Cgroups | None:
    """The launcher's cgroups, or None where it may make none. What an earlier launcher has left in them is killed."""
    try:
        own = _own_cgroup()
        base = own / f"agent-manager-{installation}"
        base.mkdir(exist_ok=True)
        if not (base / "cgroup.kill").exists():
            base.rmdir()
            return None
    except (OSError, ValueError):
        return None
    cgroups = Cgroups(base, _controllers(own, base))
    cgroups.clear()
    return cgroups


def _own_cgroup() -> Path:
    """Raises OSError, and ValueError where there is none."""
    entries = (line.split(":", 2) for line in _read(Path("/proc/self/cgroup")).splitlines())
    path = next((path for number, _, path in entries if number == "0"), None)
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        mount, _, filesystem = line.partition(" - ")
        _, _, _, root, mount_point, *_ = mount.split()
        if filesystem.startswith("cgroup2 ") and path is not None and Path(path).is_relative_to(root):
            return Path(mount_point) / Path(path).relative_to(root)
    raise ValueError("no cgroup of version 2 is mounted")


def _controllers(own: Path, base: Path) -> frozenset[str]:
    """Hand down to the launches what can be: a cgroup that does so may hold no processes itself, but for the root's."""
    available = set(_read(own / "cgroup.controllers").split())
    wanted = [controller for controller in CONTROLLERS if controller in available]
    if wanted and not _hand_down(own, wanted) and _leave_alone(own):
        _hand_down(own, wanted)
    _hand_down(base, wanted)
    return frozenset(_read(base / "cgroup.subtree_control").split()) & frozenset(CONTROLLERS)


def _leave_alone(own: Path) -> bool:
    """Move this process down, if it is alone: whoever started it may be in the same cgroup, and is not ours to move."""
    if _read(own / "cgroup.procs").split() != [str(os.getpid())]:
        return False
    try:
        services = own / "agent-manager-services"
        services.mkdir(exist_ok=True)
        (services / "cgroup.procs").write_text("0")
    except OSError:
        return False
    return True


def _hand_down(cgroup: Path, controllers: list[str]) -> bool:
    """Each for itself. Whether all were."""
    control = cgroup / "cgroup.subtree_control"
    for controller in controllers:
        with contextlib.suppress(OSError):
            control.write_text(f"+{controller}")
    return set(controllers) <= set(_read(control).split())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
