"""A real launcher under a test, and the test as its manager."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from agent_manager.launcher.frames import FrameDecoder, FrameError, Message, encode
from tests.harness.cgroups import remove_cgroups
from tests.harness.waiting import wait_until

_REPOSITORY = Path(__file__).parents[2]
_RELAY = Path(__file__).with_name("launcher_relay.py")
_ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_REPOSITORY), "LANG": "C.UTF-8"}

NODE_PYTHON = (sys.executable, "-I", "-S")


class RequestRefused(Exception):  # noqa: N818 - says what happened
    """The launcher has answered a request with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class ManagerConnection:
    """What one incarnation of the manager has received, and what it may send."""

    def __init__(self, peer: socket.socket, *, answers_pings: bool) -> None:
        self.peer = peer
        self.messages: list[Message] = []
        self.closed = False
        self._answers_pings = answers_pings
        self._request_ids = iter(range(1, 1_000_000))
        self._reader = threading.Thread(target=self._read, name="fake manager", daemon=True)
        self._reader.start()

    @property
    def hello(self) -> Message:
        """The first message."""
        hello: Message = wait_until(lambda: self.messages[:1])[0]
        return hello

    def of_type(self, *types: str) -> list[Message]:
        """The messages of these types so far."""
        return [message for message in list(self.messages) if message["type"] in types]

    def expect(self, kind: str, **fields: Any) -> Message:
        """Wait for a message of this type with these fields (those of an `exited` event are its exit's)."""

        def found() -> list[Message]:
            return [
                message
                for message in self.of_type(kind)
                if fields.items() <= (message | message.get("exit", {})).items()
            ]

        message: Message = wait_until(found)[0]
        return message

    def send(self, message: Mapping[str, Any]) -> None:
        """Send any message."""
        self.peer.sendall(encode(message))

    def begin(self, kind: str, **fields: Any) -> int:
        """Send a request without waiting for its answer; its id."""
        request_id = next(self._request_ids)
        self.send({"type": kind, "id": request_id, **fields})
        return request_id

    def answer(self, request_id: int) -> dict[str, Any]:
        """Wait for an answer. Raises RequestRefused."""
        reply = self.expect("reply", id=request_id)
        if not reply["ok"]:
            raise RequestRefused(reply["error"]["code"], reply["error"]["message"])
        result: dict[str, Any] = reply["result"]
        return result

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises RequestRefused."""
        return self.answer(self.begin(kind, **fields))

    def leave(self) -> None:
        """Make this incarnation exit with 0."""
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave, and free everything."""
        self.leave()
        self._reader.join()
        self.peer.close()

    def _read(self) -> None:
        decoder = FrameDecoder()
        with contextlib.suppress(OSError, FrameError):
            while data := self.peer.recv(1 << 20):
                decoder.feed(data)
                for message in decoder.messages():
                    self._receive(message)
        self.closed = True

    def _receive(self, message: Message) -> None:
        if message["type"] == "ping" and self._answers_pings:
            self.send({"type": "pong", "number": message["number"]})
        self.messages.append(message)


@dataclass
class RunningLauncher:
    """A launcher process, its files, and the managers it has started so far."""

    directory: Path
    table: dict[str, Any]
    process: subprocess.Popen[bytes]
    managers: list[ManagerConnection] = field(default_factory=list)

    @property
    def manager(self) -> ManagerConnection:
        """The newest manager that is still connected; waits for one that has got its hello."""

        def connected() -> list[ManagerConnection]:
            return [manager for manager in self.managers[-1:] if not manager.closed and manager.messages]

        manager: ManagerConnection = wait_until(connected)[0]
        return manager

    @property
    def warnings(self) -> str:
        """What the launcher has written to its standard error."""
        return (self.directory / "launcher.err").read_text()

    @property
    def state(self) -> dict[str, Any]:
        """The state file's content; waits for it."""
        path = self.directory / "up.json"
        wait_until(path.exists)
        state: dict[str, Any] = json.loads(path.read_text())
        return state

    @property
    def pump(self) -> psutil.Process:
        """The log pump, once it runs its program."""

        def running() -> list[psutil.Process]:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if runs(child, "agent_manager.launcher.log_pump")]

        process: psutil.Process = wait_until(running)[0]
        return process

    def log(self, name: str) -> str:
        """What a log file holds; empty while it does not exist."""
        path = self.directory / "logs" / name
        return path.read_text() if path.exists() else ""

    def spawn_fields(self, slot: str, launch_id: str, *argv: str, **changes: Any) -> dict[str, Any]:
        """The fields of a `spawn` request with its output in `<slot>.out` and `<slot>.err`."""
        logs = {
            stream: {"path": str(self.directory / "logs" / f"{slot}.{stream}"), "max_bytes": 1 << 20, "files": 3}
            for stream in ("out", "err")
        }
        fields = {
            "slot": slot,
            "launch_id": launch_id,
            "expected_launch_id": None,
            "argv": list(argv),
            "env": {"PATH": os.environ["PATH"]},
            "cwd": str(self.directory),
            "output": logs,
            "metadata": {"of": launch_id},
        }
        return fields | changes

    def spawn(self, slot: str, launch_id: str, *argv: str, **changes: Any) -> int:
        """Start a launch; its pid. Raises RequestRefused."""
        pid: int = self.manager.ask("spawn", **self.spawn_fields(slot, launch_id, *argv, **changes))["pid"]
        return pid

    def stop(self, *, then: Callable[[ManagerConnection], None] = ManagerConnection.leave) -> int:
        """SIGTERM; what the manager does when it is asked to shut down; the launcher's exit code."""
        manager = self.manager
        self.process.terminate()
        manager.expect("shutdown")
        then(manager)
        return self.process.wait(30)

    def reload(self) -> None:
        """Have the installed version take the launcher's place, and wait until it has, or has refused."""
        before = self.state
        self.process.send_signal(signal.SIGUSR2)

        def told() -> bool:
            now = self.state
            return bool(now["reloads"] > before["reloads"] or now["reloads_refused"] > before["reloads_refused"])

        wait_until(told, 60.0)

    def processes(self) -> list[psutil.Process]:
        """Everything that carries this installation's tag."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get("AGENT_MANAGER_INSTALLATION") == self.table["installation"])
        except (psutil.Error, OSError):
            return False


def runs(process: psutil.Process, argument: str) -> bool:
    """Whether it was started with this argument; one that has ended was not."""
    with contextlib.suppress(psutil.NoSuchProcess):  # which a zombie is as well
        return argument in process.cmdline()
    return False


def has_ended(process: psutil.Process) -> bool:
    """Whether a process does nothing any more; whoever inherited it may not have reaped it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def process_in(file: Path) -> psutil.Process:
    """The process that writes its pid, and a line's end, into this file."""
    text: str = wait_until(lambda: file.exists() and file.read_text().endswith("\n") and file.read_text())
    return psutil.Process(int(text))


def manager_service(directory: Path, **changes: Any) -> dict[str, Any]:
    """The table entry of the relaying manager."""
    return service(
        "manager",
        *NODE_PYTHON,
        str(_RELAY),
        str(directory / "manager.sock"),
        ready={"kind": "controller", "hang_timeout_s": 15.0, "start_timeout_s": 30.0},
        **changes,
    )


def service(name: str, *argv: str, **changes: Any) -> dict[str, Any]:
    """A table entry."""
    entry: dict[str, Any] = {
        "name": name,
        "argv": list(argv),
        "env": {"PATH": os.environ["PATH"]},
        "cwd": "/",
        "output": "log",
        "ready": {"kind": "none"},
        "stop_signal": "SIGTERM",
        "stop_timeout_s": 10.0,
    }
    return entry | changes


def service_table(directory: Path, services: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A service table whose files are all in the directory."""
    table = {
        "protocol": 1,
        "installation": uuid.uuid4().hex,
        "lock_file": str(directory / "launcher.lock"),
        "log_dir": str(directory / "logs"),
        "state_file": {
            "path": str(directory / "up.json"),
            "content": {"api_url": "http://localhost"},
            "pids": [entry["name"] for entry in services],
        },
        "stop_timeout_s": 60.0,
        "services": services,
    }
    return table | changes


def start_process(
    directory: Path,
    table: Mapping[str, Any],
    *,
    descriptor_limit: int = 4096,
    env: Mapping[str, str] = MappingProxyType({}),
    prefix: tuple[str, ...] = (),
    python: str = sys.executable,
) -> subprocess.Popen[bytes]:
    """Start a launcher with this table, behind a prefix command; its standard error goes to `launcher.err`."""
    limited = ("sh", "-c", f'ulimit -n {descriptor_limit} && exec "$@"', "sh")
    path = directory / "table.json"
    path.write_text(json.dumps(table))
    with (directory / "launcher.err").open("ab") as errors:
        return subprocess.Popen(
            [*limited, *prefix, python, "-P", "-m", "agent_manager.launcher", "--table", str(path)],
            stdin=subprocess.DEVNULL,
            stderr=errors,
            env={**_ENVIRONMENT, **env},
            cwd=directory,
        )


@contextlib.contextmanager
def running_launcher(
    directory: Path,
    *services: dict[str, Any],
    descriptor_limit: int = 4096,
    answers_pings: bool = True,
    env: Mapping[str, str] = MappingProxyType({}),
    prefix: tuple[str, ...] = (),
    python: str = sys.executable,
    **changes: Any,
) -> Iterator[RunningLauncher]:
    """A launcher with these services (default: the relaying manager alone). At the end nothing of it is left."""
    table = service_table(directory, list(services or [manager_service(directory)]), **changes)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "manager.sock"))
        listener.listen()
        process = start_process(
            directory, table, descriptor_limit=descriptor_limit, env=env, prefix=prefix, python=python
        )
        launcher = RunningLauncher(directory, table, process)
        acceptor = threading.Thread(
            target=_accept, args=(listener, launcher, answers_pings), name="acceptor", daemon=True
        )
        acceptor.start()
        try:
            yield launcher
        finally:
            if launcher.process.poll() is None:
                launcher.process.send_signal(signal.SIGKILL)
            launcher.process.wait()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for manager in launcher.managers:
                manager.close()
            wait_until(lambda: not launcher.processes())
            remove_cgroups(launcher.table["installation"])


def _accept(listener: socket.socket, launcher: RunningLauncher, answers_pings: bool) -> None:
    with contextlib.suppress(OSError):
        while True:
            peer, _ = listener.accept()
            launcher.managers.append(ManagerConnection(peer, answers_pings=answers_pings))
