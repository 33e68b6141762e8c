"""A connection that is kept: there as soon as a server is, again whenever it was lost, replaced before its credentials
expire or its server goes.

nats-py finds back by itself while a server is merely away. When the server closes a connection for good (expired or
revoked credentials) a new client is built, from files read anew. A connection is replaced without a gap: the next one
subscribes first, then the former one is drained and stays for answers to what was asked over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import nats.errors

from agent_manager.nats_access import renewal
from agent_manager.nats_access.access import Access
from agent_manager.nats_access.client import AccessClient
from agent_manager.nats_access.dialing import Caller, NotConnectedError, dial, dispose
from agent_manager.nats_access.notices import Notice, SaidOnce, Tell, of_trouble
from agent_manager.nats_access.pace import Pace
from agent_manager.nats_access.trouble import Trouble, TroubleCode, diagnose

LEAVE_WITHIN_S = 1.0
"""A server that is going down is left at a random moment of these seconds, so that not all arrive elsewhere at once."""
FLUSH_S = 1
"""How long the last messages may take at the end."""


def _nothing() -> None:
    """The default of a hook."""


def _ignore(_: Trouble) -> None:
    """The default of a hook."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What the owner of a link does. `subscribe` is called anew for every client that is built.

    During a replacement both clients are subscribed for a moment: whoever must not hear a message twice subscribes in
    a queue group of its own. `up` is called when everything can be received, `down` when it no longer can: in turns,
    `up` first. `trouble` is told of whatever goes wrong, however often; `tell` gets what belongs into the log.
    """

    subscribe: Callable[[AccessClient], Awaitable[None]]
    tell: Tell
    up: Callable[[], None] = _nothing
    down: Callable[[], None] = _nothing
    trouble: Callable[[Trouble], None] = _ignore


class Link:
    """Keeps one client connected, from `run` until `close`."""

    def __init__(self, access: Access, caller: Caller, hooks: Hooks, pace: Pace | None = None) -> None:
        self.access = access
        self._caller = caller
        self._hooks = hooks
        self._pace = pace or Pace()
        self._say = SaidOnce(hooks.tell)
        self._session: _Session | None = None
        self._is_up = False
        self._over = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self.dropped = 0
        """Messages that came and were thrown away, because those before them were not taken in time."""

    @property
    def client(self) -> AccessClient | None:
        """The client while it is connected and subscribed, else None."""
        session = self._session
        return session.client if session is not None and session.client.is_connected else None

    async def run(self) -> None:
        """Stay connected, until `close`."""
        async with self._tasks:
            failures = 0
            while not self._over.is_set():
                session = await self._open()
                if session is not None:
                    failures = 0
                    await self._keep(session)
                await self._pause(self._pace.retry_s(failures))
                failures += 1

    async def close(self) -> None:
        """Send what is buffered, as far as that is possible, and close for good."""
        client = self.client
        if client is not None:
            try:
                await client.flush(timeout=FLUSH_S)
            except (nats.errors.Error, OSError) as error:
                self._trouble(Trouble(TroubleCode.LOST, f"the last messages may not have reached NATS: {error}"))
        self._over.set()
        # It may have been replaced meanwhile.
        session = self._session
        if session is not None:
            await dispose(session.client)
            await session.closed()

    async def _open(self) -> _Session | None:
        """A subscribed client, or None: after saying why there is none, or at the end."""
        session = _Session(self)
        try:
            client = session.client = await dial(self.access, self._caller, session, self._pace)
        except NotConnectedError as error:
            for trouble in error.troubles:
                self._trouble(self._in_time(trouble))
            return None
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(dispose, client)
            try:
                await self._hooks.subscribe(client)
                # A server that took expired credentials for a moment never answers.
                await client.flush(timeout=self._pace.connect_timeout_s)
            except (nats.errors.Error, OSError) as error:
                self._trouble(diagnose(error, self.access))
                return None
            if self._over.is_set():
                return None
            undo.pop_all()
        return session

    async def _keep(self, session: _Session) -> None:
        """Until this client, and those that replace it, are closed for good."""
        watch = self._tasks.create_task(self._watch_credentials(session), name="credentials")
        self._session = session
        self._up(session)
        try:
            while await session.to_be_replaced() and not self._over.is_set():
                successor = await self._open()
                if successor is None:
                    await self._pause(self._pace.longest_retry_s)
                    session.replace_again()
                    continue
                former, session = session, successor
                self._session = session
                watch.cancel()
                watch = self._tasks.create_task(self._watch_credentials(session), name="credentials")
                self._up(session)
                self._tell(logging.INFO, "bus_replaced", f"the connection to NATS was replaced: {former.reason}")
                self._tasks.create_task(self._retire(former.client), name="former connection")
        except asyncio.CancelledError:
            self._over.set()
            raise
        finally:
            watch.cancel()
            self._session = None
            self._down()
            await dispose(session.client)

    async def _retire(self, client: AccessClient) -> None:
        try:
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.withdraw()
                await self._pause(self._pace.answers_s)
        finally:
            await dispose(client)

    async def _watch_credentials(self, session: _Session) -> None:
        """Have the client replaced when its file holds new credentials."""
        await renewal.renewed(self.access.identity, session.credentials, self._say)
        session.replace("its credentials were renewed")

    async def _pause(self, seconds: float) -> None:
        """Wait, or until the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    def _up(self, session: _Session) -> None:
        """Connected: that counts once everything is subscribed, and if it has not been lost again meanwhile."""
        if session is self._session and session.client.is_connected and not self._is_up:
            self._is_up = True
            self._say.forget()
            self._tell(
                logging.INFO,
                "bus_connected",
                f"connected to NATS at {session.client.server} as {self.access.identity.description}",
                server=session.client.server,
            )
            self._hooks.up()

    def _down(self) -> None:
        if self._is_up:
            self._is_up = False
            if not self._over.is_set():
                text = f"the connection to NATS at {self.access.where} is gone; reconnecting"
                self._tell(logging.WARNING, "bus_disconnected", text)
            self._hooks.down()

    def _trouble(self, trouble: Trouble, bug: Exception | None = None) -> None:
        if self._over.is_set():
            return
        if trouble.code is TroubleCode.SLOW_CONSUMER:
            self.dropped += 1
            trouble = replace(trouble, text=f"{trouble.text}; {_rounded(self.dropped):,} or more since the start")
        self._say(replace(of_trouble(trouble, identity=self.access.identity.description), bug=bug))
        self._hooks.trouble(trouble)

    def _in_time(self, trouble: Trouble) -> Trouble:
        """A refusal does not say that the credentials have expired; their file does."""
        if trouble.code is TroubleCode.CREDENTIALS_REFUSED and renewal.expired(self.access.identity):
            text = f"{self.access.identity.description} has expired; whoever issued it must renew it"
            return Trouble(TroubleCode.CREDENTIALS_EXPIRED, text, trouble.server)
        return trouble

    def _tell(self, level: int, event: str, text: str, **fields: str) -> None:
        self._hooks.tell(Notice(event=event, level=level, text=text, fields={"url": self.access.where, **fields}))


def _rounded(number: int) -> int:
    """Down to a power of ten, so that a number that grows is news now and then only."""
    return int("1" + "0" * (len(str(number)) - 1))


class _Session:
    """One client, what it tells, and whether it is to be replaced."""

    client: AccessClient

    def __init__(self, link: Link) -> None:
        self._link = link
        self._news = asyncio.Event()
        self._closed = False
        self.reason = ""
        self.credentials = renewal.present(link.access.identity)

    def replace(self, reason: str) -> None:
        """Another client is to take the place of this one."""
        self.reason = reason
        self._news.set()

    def replace_again(self) -> None:
        """The last attempt to do so has failed."""
        self._news.set()

    async def to_be_replaced(self) -> bool:
        """Wait until it is to be replaced; False when it has been closed for good."""
        if not self._closed:
            await self._news.wait()
            self._news.clear()
        return not self._closed

    async def failed(self, error: Exception) -> None:
        """See Listener."""
        if isinstance(error, nats.errors.Error | OSError):
            self._link._trouble(self._link._in_time(diagnose(error, self._link.access)))
        else:
            text = f"a message could not be handled: {type(error).__name__}: {error}"
            self._link._trouble(Trouble(TroubleCode.ERROR, text), error)

    async def disconnected(self) -> None:
        """See Listener."""
        if self is self._link._session:
            self._link._down()

    async def reconnected(self) -> None:
        """See Listener."""
        self._link._up(self)

    async def closed(self) -> None:
        """See Listener."""
        self._closed = True
        self._news.set()

    async def lame_duck(self) -> None:
        """See Listener. The client reads nothing until this returns."""
        if self.reason:
            return  # it is being left
        self.reason = f"{self.client.server} is shutting down"
        self._link._tell(logging.WARNING, "bus_lame_duck", f"{self.reason}; going elsewhere")
        self._link._tasks.create_task(self._leave(self.reason), name="leave lame duck")

    async def _leave(self, reason: str) -> None:
        await self._link._pause(random.uniform(0, LEAVE_WITHIN_S))
        self.replace(reason)
