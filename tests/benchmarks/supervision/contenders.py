"""The supervisors that are compared: how each is installed, told what to supervise, started, killed and started again.

Each is measured the quickest way it offers: supervisord starts everything at its own start, PM2 takes an ecosystem file
while its daemon runs, a node of ours is asked over NATS to start agents that it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil
import yaml

from tests.benchmarks.supervision.population import Program
from tests.harness.node import Node
from tests.harness.waiting import eventually

SUPERVISOR, PM2 = "supervisor==4.3.0", "pm2@7.0.4"
PEERS = Path(__file__).parents[3] / "build" / "benchmarks" / "peers"


class NotInstalledError(Exception):
    """A peer cannot be had here; the message says why."""


class Contender(Protocol):
    """A supervisor under test. `directory` of its constructor is its own."""

    name: str

    async def prepare(self, programs: Sequence[Program]) -> None:
        """Everything up to the moment before the programs are started."""
        ...

    async def start(self) -> None:
        """Have all programs started; need not wait for them."""
        ...

    @property
    def daemons(self) -> dict[str, psutil.Process]:
        """The processes that do the supervising, by name; the first is the one whose figures count."""
        ...

    async def kill_and_bring_back(self) -> None:
        """SIGKILL what supervises, and have it come back the way its users do."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...


def _run(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run to its end. Raises NotInstalledError with its last words."""
    try:
        subprocess.run(argv, cwd=cwd, env=env, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", None) or str(error)
        raise NotInstalledError(f"{argv[0]}: {words.strip().splitlines()[-1]}") from error


def _spawn(*argv: str, env: dict[str, str] | None = None) -> psutil.Process:
    """A daemon that goes on in the background, in a session of its own."""
    process = subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return psutil.Process(process.pid)


class Ours:
    """A node of this project."""

    name = "agent-manager"

    def __init__(self, directory: Path, *, runtime: str = "fork") -> None:
        self._runtime = runtime
        (directory / "agent_packages").mkdir()
        self.node = Node(data_dir=directory / "data", packages=directory / "agent_packages")
        self._names: list[str] = []

    async def prepare(self, programs: Sequence[Program]) -> None:
        """See `Contender`."""
        for program in programs:
            self._add(program)
        self._names = [program.name for program in programs]
        await self.node.up()

        async def known() -> bool:
            return len((await self.node.get("/agents", page_size=1000))["items"]) == len(programs)

        await eventually(known, 120.0)

    def _add(self, program: Program) -> None:
        folder = self.node.packages / program.name
        folder.mkdir()
        interpreter, script = program.argv[0], program.argv[-1]
        manifest: dict[str, Any] = {"version": "1", "autostart": False, "env": dict(program.env)}
        if Path(script).name != "sdk_agent.py":
            manifest["heartbeat"] = "none"
        if interpreter == sys.executable:
            # What its users do: the file is the agent.
            shutil.copy(script, folder)
            manifest |= {"entrypoint": Path(script).name, "runtime": self._runtime}
        else:
            manifest |= {"command": list(program.argv)}
        (folder / "agent.yaml").write_text(yaml.safe_dump(manifest))

    async def start(self) -> None:
        """See `Contender`."""
        async with self.node.bus() as client:
            answers = await asyncio.gather(*(self.node.command(client, "start", name) for name in self._names))
        refused = [answer for answer in answers if answer["status"] != "success"]
        assert not refused, f"{len(refused)} of {len(answers)} were refused, the first: {refused[0]}"

    @property
    def daemons(self) -> dict[str, psutil.Process]:
        """See `Contender`."""
        return {name: psutil.Process(self.node.pid(name)) for name in ("manager", "launcher", "nats", "api")}

    async def running(self) -> int:
        """How many instances run."""
        (this,) = (await self.node.get("/nodes"))["items"]
        return int(this["instances"].get("running", 0))

    async def restarts(self) -> int:
        """How often any was started again."""
        agents = (await self.node.get("/agents", page_size=1000))["items"]
        return sum(instance["restarts"] for agent in agents for instance in agent["instances"])

    async def kill_and_bring_back(self) -> None:
        """See `Contender`: the launcher brings the manager back."""
        await _kill(self.daemons["manager"])

    async def close(self) -> None:
        """See `Contender`."""
        await self.node.close()


class Supervisord:
    """supervisord, from PyPI."""

    name = "supervisord"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bin = PEERS / "supervisor" / "bin"
        self._daemon: psutil.Process | None = None

    @staticmethod
    def install() -> None:
        """Into an environment of its own. Raises NotInstalledError."""
        folder = PEERS / "supervisor"
        if not (folder / "bin" / "supervisord").exists():
            _run(sys.executable, "-m", "venv", str(folder))
            _run(str(folder / "bin" / "pip"), "install", "--quiet", SUPERVISOR, "setuptools<81")

    async def prepare(self, programs: Sequence[Program]) -> None:
        """See `Contender`."""
        sections = [
            "[supervisord]",
            f"logfile={self._directory}/supervisord.log",
            f"pidfile={self._directory}/supervisord.pid",
            f"childlogdir={self._directory}",
            "nodaemon=true",
            "minfds=4096",
        ]
        for program in programs:
            environment = ",".join(f'{key}="{value}"' for key, value in program.env.items())
            sections += [
                f"[program:{program.name}]",
                f"command={' '.join(program.argv)}",
                f"environment={environment}",
                "autorestart=true",
                "startsecs=1",
            ]
        (self._directory / "supervisord.conf").write_text("\n".join(sections))

    async def start(self) -> None:
        """See `Contender`."""
        self._daemon = _spawn(str(self._bin / "supervisord"), "-c", str(self._directory / "supervisord.conf"))

    @property
    def daemons(self) -> dict[str, psutil.Process]:
        """See `Contender`."""
        assert self._daemon is not None
        return {"supervisord": self._daemon}

    async def kill_and_bring_back(self) -> None:
        """See `Contender`."""
        await _kill(self.daemons["supervisord"])
        await self.start()

    async def close(self) -> None:
        """See `Contender`."""
        if self._daemon is not None:
            await _end(self._daemon)


class Pm2:
    """PM2, from npm."""

    name = "PM2"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._env = {**os.environ, "PM2_HOME": str(directory / "home"), "PM2_DISCRETE_MODE": "true"}
        self._program = str(PEERS / "pm2" / "node_modules" / ".bin" / "pm2")

    @staticmethod
    def install() -> None:
        """Into a folder of its own. Raises NotInstalledError."""
        folder = PEERS / "pm2"
        if not (folder / "node_modules" / ".bin" / "pm2").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PM2)

    async def prepare(self, programs: Sequence[Program]) -> None:
        """See `Contender`."""
        apps = [
            {
                "name": program.name,
                "script": program.argv[1] if program.argv[0] == sys.executable else program.argv[0],
                "args": list(program.argv[2:] if program.argv[0] == sys.executable else program.argv[1:]),
                "interpreter": sys.executable if program.argv[0] == sys.executable else "none",
                "env": dict(program.env),
            }
            for program in programs
        ]
        (self._directory / "ecosystem.config.json").write_text(json.dumps({"apps": apps}))
        await self._pm2("ping")

    async def start(self) -> None:
        """See `Contender`."""
        await self._pm2("start", str(self._directory / "ecosystem.config.json"))

    @property
    def daemons(self) -> dict[str, psutil.Process]:
        """See `Contender`."""
        return {"pm2": psutil.Process(int((self._directory / "home" / "pm2.pid").read_text()))}

    async def kill_and_bring_back(self) -> None:
        """See `Contender`: from the list that was saved."""
        await self._pm2("save")
        await _kill(self.daemons["pm2"])
        await self._pm2("resurrect")

    async def close(self) -> None:
        """See `Contender`."""
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            daemon = self.daemons["pm2"]
            await self._pm2("kill")
            await _end(daemon)

    async def _pm2(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        await process.wait()


class WarmFork:
    """No supervisor at all: what the machine allows."""

    name = "warm fork, bare"

    def __init__(self, directory: Path) -> None:
        self._count = 0
        self._env: dict[str, str] = {}
        self._process: psutil.Process | None = None

    async def prepare(self, programs: Sequence[Program]) -> None:
        """See `Contender`."""
        self._count = len(programs)
        self._env = {**os.environ, **programs[0].env}

    async def start(self) -> None:
        """See `Contender`."""
        script = Path(__file__).with_name("warm_fork.py")
        self._process = _spawn(sys.executable, str(script), str(self._count), env=self._env)

    @property
    def daemons(self) -> dict[str, psutil.Process]:
        """See `Contender`."""
        assert self._process is not None
        return {"parent": self._process}

    async def kill_and_bring_back(self) -> None:
        """It would not come back."""

    async def close(self) -> None:
        """See `Contender`: its children would run on."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(psutil.wait_procs, [self._process], 30)


async def _kill(process: psutil.Process) -> None:
    process.kill()
    await asyncio.to_thread(psutil.wait_procs, [process], 10)


async def _end(process: psutil.Process) -> None:
    """End a daemon; it may have ended already."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(psutil.wait_procs, [process], 30)
        if process.is_running():
            process.kill()
