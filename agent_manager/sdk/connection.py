"""The connection to NATS: made and made again for as long as it takes, given up only when the server refuses it.

Credentials that are renewed in their file are taken up before they expire, without a message being lost. Once they
have expired the agent runs on without NATS, until whoever issued them renews them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from agent_manager.nats_access.dialing import Caller
from agent_manager.nats_access.link import Hooks, Link
from agent_manager.nats_access.notices import Notice
from agent_manager.nats_access.trouble import Trouble, TroubleCode
from agent_manager.protocol import subjects, tracing
from agent_manager.sdk.ending import Ending, ExitCode
from agent_manager.sdk.errors import describe
from agent_manager.sdk.launch_environment import LaunchSettings

_log = logging.getLogger(__name__)

Received = Callable[[Msg], Awaitable[None]]


class Listening:
    """A subject that is listened to, over whatever connection there is."""

    def __init__(self, subject: str, received: Received, queue: str) -> None:
        self.subject = subject
        self._received = received
        self._queue = queue
        self._subscription: Subscription | None = None

    async def begin(self, client: Client) -> None:
        """Listen over this client from now on."""
        self._subscription = await client.subscribe(self.subject, queue=self._queue, cb=self._received)

    async def drain(self) -> None:
        """Listen no more, and return when what has come so far has been taken. Raises what nats-py does."""
        if self._subscription is not None:
            await self._subscription.drain()  # type: ignore[no-untyped-call]


class Connection:
    """One launch's connection, to be entered; `open` waits for it. Ends the agent when the server refuses it."""

    def __init__(self, settings: LaunchSettings, ending: Ending) -> None:
        identity = settings.identity
        self._ending = ending
        # In a queue group of its own, a launch gets each message once, however many connections it has for a moment.
        self._queue = identity.launch_id
        self._listening: list[Listening] = []
        self._subscribing = asyncio.Lock()
        self._client: Client | None = None
        self._opened = asyncio.Event()
        self._on_reconnected: Callable[[], Awaitable[None]] | None = None
        self._tasks = asyncio.TaskGroup()
        self._link = Link(
            settings.access,
            Caller(
                name=identity.instance_id,
                inbox_prefix=subjects.inbox_prefix(identity.instance_id, identity.launch_id),
            ),
            Hooks(subscribe=self._subscribe_all, tell=_tell, up=self._up, trouble=self._trouble),
        )

    async def __aenter__(self) -> Connection:
        await self._tasks.__aenter__()
        self._running = self._tasks.create_task(self._link.run(), name="NATS")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._link.close()
        # It may be in the middle of an attempt to connect.
        self._running.cancel()
        await self._tasks.__aexit__(kind, error, traceback)

    @property
    def is_connected(self) -> bool:
        """Whether what is sent now goes out now."""
        return self._link.client is not None

    @property
    def max_payload(self) -> int:
        """The largest body the server takes, in bytes."""
        return self._present.max_payload

    def on_reconnected(self, action: Callable[[], Awaitable[None]]) -> None:
        """Call `action` whenever the connection is there again."""
        self._on_reconnected = action

    async def open(self) -> None:
        """Wait until it is there."""
        await self._opened.wait()

    async def send(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publish. What cannot be sent is logged and lost: nobody on this side could do anything about it."""
        await _publish(self._present, subject, payload, headers)

    async def answer(
        self, message: Msg, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish an answer to `message`, as `send` does: over the connection that it came by.

        A server that knows who is whom lets a launch answer only on the connection on which it was asked.
        """
        asked_over = message._client
        await _publish(self._present if asked_over.is_closed else asked_over, subject, payload, headers)

    async def subscribe(self, subject: str, received: Received, *, queue: str = "") -> Listening:
        """Listen, over reconnections too. Raises what nats-py does when the server has just closed the connection."""
        listening = Listening(subject, received, queue or self._queue)
        async with self._subscribing:
            self._listening.append(listening)
            await listening.begin(self._present)
        return listening

    async def leave(self, listening: Listening) -> None:
        """Listen no more, and return when what has come so far has been taken. Raises what nats-py does."""
        async with self._subscribing:
            self._listening.remove(listening)
        await listening.drain()

    @property
    def _present(self) -> Client:
        if self._client is None:
            raise RuntimeError("the connection has not been opened yet")
        return self._client

    async def _subscribe_all(self, client: Client) -> None:
        async with self._subscribing:
            for listening in self._listening:
                await listening.begin(client)
            self._client = client

    def _up(self) -> None:
        again = self._opened.is_set()
        self._opened.set()
        if again and self._on_reconnected is not None and not self._ending.reached:
            self._tasks.create_task(_carry_out(self._on_reconnected), name="connected again")

    def _trouble(self, trouble: Trouble) -> None:
        """The first connection may be refused because the server is not ready; afterwards a refusal is meant."""
        if trouble.code is TroubleCode.CREDENTIALS_REFUSED and self._opened.is_set() and not self._ending.reached:
            _log.error("NATS will not have this launch any more (%s); ending, so that another one can begin", trouble)
            self._ending.give(ExitCode.CONNECTION_LOST)


async def _carry_out(action: Callable[[], Awaitable[None]]) -> None:
    await action()


async def _publish(client: Client, subject: str, payload: bytes, headers: Mapping[str, str] | None) -> None:
    try:
        await client.publish(subject, payload, headers={**tracing.carried(), **(headers or {})} or None)
    except nats.errors.Error as error:
        _log.warning("could not publish on %s: %s", subject, describe(error))


def _tell(notice: Notice) -> None:
    again = "; trying again" if notice.level >= logging.WARNING and notice.event != "bus_disconnected" else ""
    _log.log(notice.level, "%s%s", notice.text, again, exc_info=notice.bug)
