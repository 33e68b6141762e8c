"""The console of `agent-manager up`: says where everything is once the node is up, then a line per event.

A process of its own, so that a terminal that is held (Ctrl-S, a pager) holds up nothing but these lines.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import os
import shlex
import signal
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from agent_manager.cli.printable import printable, shown
from agent_manager.cli.programs import escape_what_cannot_be_encoded
from agent_manager.cli.service_table import STATE_FILE
from agent_manager.nats_access.dialing import Caller
from agent_manager.nats_access.link import Hooks, Link
from agent_manager.nats_access.notices import Notice
from agent_manager.protocol import subjects
from agent_manager.protocol.messages import EventMessage
from agent_manager.protocol.release import release
from agent_manager.settings.manager import MANAGER, ManagerSettings

LOOK_S = 0.125
"""How often to look for the state file while the node starts."""
PATIENCE_S = 15
"""After this long without one, the person is told where to look."""
GRACE_S = 3.0
"""So long NATS may be away without a word: the node's own server starts after the console."""


def banner(settings: ManagerSettings, state: dict[str, str], scripts: Path) -> str:
    """What a person needs to know of a node that has come up; `scripts` is where this product's programs are."""
    ctl, api = shlex.quote(shown(scripts / "agentctl")), state["api_url"]
    data_option = (
        ""
        if settings.data_dir == Path.cwd() / ".agent-manager"
        else f" --data-dir {shlex.quote(shown(settings.data_dir))}"
    )
    return "\n".join(
        (
            f"agent-manager {release()} is up",
            "",
            f"  API        {api}   (description: {api}/api/v1/openapi.json)",
            f"  NATS       {state['nats_url']}{_credentials(state)}",
            f"  metrics    {', '.join((*_metrics(state), f'{api}/metrics'))}",
            f"  packages   {shown(settings.packages_dir)}",
            f"  data       {shown(settings.data_dir)}",
            f"  logs       {shown(settings.data_dir / 'logs')}",
            f"  isolation  off: agents run as {getpass.getuser()}, like the manager",
            "",
            "Try next, in another terminal:",
            f"  {ctl}{data_option} ls",
            f"  {ctl}{data_option} restart echo",
            f"  curl -s {api}/api/v1/agents",
            "",
            "Ctrl-C stops everything, a second one without waiting. What happens:",
        )
    )


def line(event: EventMessage) -> str:
    """One event for people."""
    who = event.instance_id or event.agent_id
    pid = event.data.get("pid")
    words = f"{event.message} (pid {pid})" if event.type == "running" and pid else event.message
    return _row(event.at, who, event.type, words)


def _row(at: datetime, who: str, what: str, words: str) -> str:
    return printable(f"{at.astimezone():%H:%M:%S}  {who:<18} {what:<18} {words}").replace("\n", " ")


def told(subject: str, body: bytes) -> str:
    """The same of an event as it came over the bus, where it is one."""
    try:
        return line(EventMessage.model_validate_json(body))
    except (ValidationError, OverflowError):
        # Local time has no place for moments at the ends of the calendar.
        return printable(f"unreadable event on {subject}").replace("\n", " ")


def _credentials(state: dict[str, str]) -> str:
    return f"   credentials: {shown(Path(state['nats_creds']))}" if "nats_creds" in state else ""


def _metrics(state: dict[str, str]) -> list[str]:
    return [state["metrics_url"]] if "metrics_url" in state else []


class Console:
    """One run of the console."""

    def __init__(self, settings: ManagerSettings) -> None:
        self._settings = settings
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._over = asyncio.Event()
        # While one connection takes the place of another, each event comes over one of them.
        self._queue = f"console-{uuid.uuid4().hex}"
        self._is_connected = False
        self._trouble: str | None = None
        self._is_told = False

    async def run(self) -> None:
        """Print until SIGTERM, and then what has come so far, whether or not the node ever came up."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._over.set)
        async with asyncio.TaskGroup() as tasks:
            loops = (
                tasks.create_task(self._follow(), name="follow"),
                tasks.create_task(self._print(), name="print"),
            )
            await self._over.wait()
            for loop in loops:
                loop.cancel()
        while not self._lines.empty():
            _say(self._lines.get_nowait())

    async def _print(self) -> None:
        _say(banner(self._settings, await self._state(), Path(sys.executable).parent))
        while True:
            _say(await self._lines.get())

    async def _state(self) -> dict[str, str]:
        """The state file, written by the launcher once every service is ready."""
        looks = 0
        while True:
            try:
                return dict(json.loads((self._settings.data_dir / STATE_FILE).read_text(encoding="utf-8")))
            except FileNotFoundError:
                await asyncio.sleep(LOOK_S)
            looks += 1
            if looks * LOOK_S == PATIENCE_S:
                _say(f"still starting; {shown(self._settings.data_dir / 'logs' / 'services')} says what is in the way")

    async def _follow(self) -> None:
        link = Link(
            self._settings.nats.access(os.environ).access,
            Caller(name="agent-manager-console", inbox_prefix=subjects.INBOX_PREFIX),
            Hooks(subscribe=self._subscribe, tell=self._noticed, up=self._up, down=self._down),
        )
        await link.run()

    def _noticed(self, notice: Notice) -> None:
        if notice.level < logging.WARNING:
            return
        if self._trouble is None:
            asyncio.get_running_loop().call_later(GRACE_S, self._tell_trouble)
        self._trouble = notice.text

    def _tell_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        if not self._is_connected and trouble is not None:
            self._is_told = True
            self._lines.put_nowait(_of_bus("away", f"{trouble}; the manager tries again"))

    def _up(self) -> None:
        self._is_connected = True
        if self._is_told:
            self._is_told = False
            self._lines.put_nowait(_of_bus("connected", "`agentctl events` tells what has happened meanwhile"))

    def _down(self) -> None:
        self._is_connected = False

    async def _subscribe(self, client: Client) -> None:
        await client.subscribe(subjects.ALL_AGENT_EVENTS, queue=self._queue, cb=self._event)

    async def _event(self, message: Msg) -> None:
        self._lines.put_nowait(told(message.subject, message.data))


def _of_bus(state: str, words: str) -> str:
    return _row(datetime.now(UTC), "NATS", state, words)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:
        # The terminal is gone; the node runs on.
        os._exit(0)


def main() -> None:
    """Entry point: `python -P -m agent_manager.cli.console`, started by the launcher under `up`."""
    escape_what_cannot_be_encoded()
    asyncio.run(Console(MANAGER.load(os.environ).settings).run())


if __name__ == "__main__":
    main()
