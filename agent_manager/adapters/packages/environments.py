"""Virtual environments of packages, below one folder: `ports.packages.Environments`.

An environment is made where it stays, since it cannot be moved; it counts once its mark is there, written last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_manager.adapters.packages.installer import Installer
from agent_manager.adapters.packages.requirements import PROJECT, UnusableRequirementsError, need_of, sdk_paths
from agent_manager.documents.problems import printable
from agent_manager.domain.agents import ManifestFault
from agent_manager.ports.packages import EnvironmentNeed, PreparationError

MARK = ".complete"
"""The file of an environment that can be used; its time is when it was last asked for."""

LAST_LINES = 8
_LAST_BYTES = 4_000
VENV = "venv"
_OWN_PREFIXES = ("AGENT_MANAGER_", "MANAGEMENT_API_")
_MISLEADING = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")


@dataclass(kw_only=True)
class VirtualEnvironments:
    """Makes at most `jobs` at once. What installers say goes into a log per package below `logs`.

    `inherited` is the environment installers run in, so that they find their own configuration. An environment nobody
    uses any more is kept for `keep_s` seconds, in case the change that left it behind is taken back.
    """

    root: Path
    logs: Path
    installer: Installer
    inherited: Mapping[str, str]
    timeout_s: float = 600.0
    jobs: int = 2
    keep_s: float = 3600.0
    _making: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.jobs)

    def ready(self, need: EnvironmentNeed) -> str | None:
        """The path of the environment, None while it has to be made."""
        place = self.root / need.key
        try:
            os.utime(place / MARK)
        except OSError:
            return None
        return str(place / VENV)

    async def make(self, need: EnvironmentNeed, package: str) -> None:
        """Make it. Raises PreparationError."""
        self._making.add(need.key)
        try:
            async with self._places:
                await self._make(need, package)
        except OSError as error:
            reason = error.strerror or str(error)
            raise self._failure(need, package, f"could not be made: {reason}", ()) from error
        finally:
            self._making.discard(need.key)

    async def keep_only(self, used: Collection[str]) -> None:
        """Remove environments that are neither among these paths nor were made or asked for lately."""
        await asyncio.to_thread(self._sweep, frozenset(used))

    async def _make(self, need: EnvironmentNeed, package: str) -> None:
        place, log = self.root / need.key, self.logs / f"{package}.log"
        environment = place / VENV
        requirements = await asyncio.to_thread(self._begin, need, place, log)
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        for command in self.installer.commands(environment, requirements):
            await self._run(command, need, package, log, deadline)
        if need.sdk:
            _let_find_the_sdk(environment)
            python = str(environment / "bin" / "python")
            await self._run((python, "-P", "-c", "import agent_manager.sdk"), need, package, log, deadline)
        await asyncio.to_thread(self._check_unchanged, need, package)
        (place / MARK).touch()

    def _begin(self, need: EnvironmentNeed, place: Path, log: Path) -> str:
        """Clear the place; returns the path of the requirements file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        if place.exists():
            shutil.rmtree(place)
        place.mkdir(parents=True)
        if need.file != PROJECT:
            return str(Path(need.folder) / need.file)
        written = place / "requirements.txt"
        written.write_text("\n".join(need.requirements) + "\n", encoding="utf-8")
        return str(written)

    async def _run(
        self, command: tuple[str, ...], need: EnvironmentNeed, package: str, log: Path, deadline: float
    ) -> None:
        with log.open("ab") as output:
            output.write(f"$ {' '.join(command)}\n".encode("utf-8", "surrogateescape"))
            output.flush()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "agent_manager.adapters.packages.installing", str(os.getpid()), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=need.folder,
                env=self._environment(),
                start_new_session=True,
            )
        try:
            async with asyncio.timeout_at(deadline):
                code = await process.wait()
        except TimeoutError as error:
            raise self._failure(need, package, f"was not made within {self.timeout_s:g} s", _tail(log)) from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if code != 0:
            what = " ".join(os.path.basename(part) if part == command[0] else part for part in command[:4])
            raise self._failure(need, package, f"could not be made: `{what} …` ended with {code}", _tail(log))

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self.inherited.items()
            if name not in _MISLEADING and (not name.startswith(_OWN_PREFIXES) or name == "AGENT_MANAGER_INSTALLATION")
        }
        return {**kept, "PYTHONUNBUFFERED": "1"}

    def _check_unchanged(self, need: EnvironmentNeed, package: str) -> None:
        """What was installed must be what the key stands for."""
        try:
            now = need_of(Path(need.folder), {need.file}, digest=need.own, sdk=need.sdk)
        except UnusableRequirementsError:
            now = None
        if now != need:
            raise self._failure(need, package, "is out of date: the file changed while it was read", ())

    def _failure(
        self, need: EnvironmentNeed, package: str, reason: str, last_lines: Collection[str]
    ) -> PreparationError:
        log = self.logs / f"{package}.log"
        said = f": {' | '.join(last_lines)}" if last_lines else ""
        message = (
            f"the environment {reason}{said} (all of it: {log}). Mend {need.file}, or once the cause is gone: "
            f"agentctl package retry {package}"
        )
        return PreparationError(ManifestFault(file=f"{package}/{need.file}", message=printable(message)))

    def _sweep(self, used: frozenset[str]) -> None:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root) as places:
            for place in list(places):
                if (
                    f"{place.path}/{VENV}" not in used
                    and place.name not in self._making
                    and self._is_old(Path(place.path))
                ):
                    # Without its mark it is no environment any more, however far the removal comes.
                    Path(place.path, MARK).unlink(missing_ok=True)
                    shutil.rmtree(place.path, ignore_errors=True)

    def _is_old(self, place: Path) -> bool:
        try:
            return time.time() - (place / MARK).stat().st_mtime >= self.keep_s
        except OSError:
            # One that was never finished is of no use to anybody.
            return True


def _let_find_the_sdk(environment: Path) -> None:
    """Append the manager's own installation to the environment's path: what is installed here comes first."""
    place = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", place))
    (packages / "agent-manager.pth").write_text("\n".join(sdk_paths()) + "\n", encoding="utf-8")


def _tail(log: Path) -> tuple[str, ...]:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
        text = file.read().decode("utf-8", "replace")
    said = [line.strip() for line in text.splitlines()]
    lines = [line for line in said if line and not line.startswith("$ ")]
    # pip warns of every attempt and of much besides; why it gave up is what is wanted.
    reasons = [line for line in lines if not line.startswith("WARNING:")]
    return tuple((reasons or lines)[-LAST_LINES:])
