"""Requests to the managers, and what they announce."""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import UTC, datetime, timedelta

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError
from pydantic_core import from_json

from agent_manager.protocol import headers, operations, subjects, tracing
from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from agent_manager.protocol.messages import Message, Request, Response
from agent_manager.protocol.operations import Kind, NoParams, Operation
from agent_manager.protocol.resources import NodeList
from agent_manager.telemetry.structured import structlog
from management_api.event_feed import EventFeed
from management_api.event_stream import OpenStreams
from management_api.nats_link import NatsLink
from management_api.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

ACTOR = "http"
"""Who asks, as long as nobody has to log in."""
WATCH_S = 0.5
"""How often a caller that waits makes sure that there still is somebody to wait for."""


class ManagerClient:
    """The managers behind the bus. `run` keeps the connection; everything else works, or fails at once, at any time."""

    def __init__(self, settings: Settings) -> None:
        """Raises AccessError when the settings do not say how NATS is to be reached."""
        self.feed = EventFeed(limit_bytes=settings.streams.backlog_bytes)
        self._request_timeout_s = settings.service.request_timeout_s
        self._waiting: set[asyncio.Timeout] = set()
        self.streams = OpenStreams()
        self._ending: RequestFailedError | None = None
        reached = settings.nats.access(os.environ)
        for remark in reached.remarks:
            _log.warning("nats_context_ignored", detail=remark)
        self._link = NatsLink(
            access=reached.access,
            connect_timeout_s=settings.nats.connect_timeout_s,
            on_event=self.feed.publish,
            on_lost=self._lost,
        )

    async def run(self) -> None:
        """Keep the connection to the bus until cancelled."""
        await self._link.run()

    def release(self) -> None:
        """The program ends: answer every caller that still waits, end every stream of events, and take no more."""
        self._ending = _unavailable("the management API is shutting down; try again when it is back")
        self.streams.end()
        self._interrupt()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the bus."""
        return self._link.client is not None

    def check_connected(self) -> Client:
        """The connected client of the bus. Raises RequestFailedError (`unavailable`) when there is none."""
        if self._ending is not None:
            raise self._ending
        client = self._link.client
        if client is None:
            raise _unavailable(
                f"not connected to NATS at {self._link.server}; is it running, and does it take the API's credentials?"
            )
        return client

    async def call(
        self,
        operation: Operation,
        *,
        agent_id: str | None = None,
        params: Message | None = None,
        wait_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> Message:
        """Ask whichever manager is free to carry out `operation`; returns its `operation.result`.

        `wait_s` is what the manager may spend on waiting, `timeout_s` what it may take on top (default: the settings').
        Raises RequestFailedError with the manager's own code when it refuses; `unavailable`, at once, without a
        connection or a manager; `timeout`; `internal` for an answer that makes no sense.
        """
        client = self.check_connected()
        limit_s = wait_s + (self._request_timeout_s if timeout_s is None else timeout_s)
        now = datetime.now(UTC)
        trace = tracing.current()
        request = Request(
            id=trace.request_id if trace is not None else uuid.uuid4().hex,
            agent_id=agent_id,
            params=(params or NoParams()).model_dump(mode="json", exclude_none=True),
            timestamp=now,
            deadline=now + timedelta(seconds=limit_s),
        )
        return result_of(operation, await self._ask(client, operation, request, limit_s))

    async def _ask(self, client: Client, operation: Operation, request: Request, limit_s: float) -> bytes:
        body = request.model_dump_json(exclude_none=True).encode()
        interruption = asyncio.timeout(None)
        self._waiting.add(interruption)
        try:
            async with interruption:
                reply = await self._answer(client, operation, body, limit_s)
        except nats.errors.NoRespondersError as error:
            raise _unavailable(
                "no manager is running: while `agent-manager up` runs, try again in a moment; else start that"
            ) from error
        except TimeoutError as error:
            raise self._interrupted() if interruption.expired() else _timeout(operation, limit_s) from error
        except (OSError, nats.errors.Error) as error:
            raise _unavailable(f"the request could not be sent over NATS: {error}") from error
        finally:
            self._waiting.discard(interruption)
        return reply.data

    async def _answer(self, client: Client, operation: Operation, body: bytes, limit_s: float) -> Msg:
        """The answer, unless whoever had the request is found to have died with it."""
        subject = subjects.api_operation(operation.resource, operation.verb)
        asked_at = datetime.now(UTC)
        asking = asyncio.create_task(
            client.request(subject, body, timeout=limit_s, headers={headers.ACTOR: ACTOR, **tracing.carried()}),
            name=f"ask {subject}",
        )
        watching = asyncio.create_task(_until_managers_gone(client, asked_at), name="watch managers")
        try:
            await asyncio.wait((asking, watching), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            raise _unavailable(f"the manager ended before it answered; {_before_asking_again(operation)}")
        finally:
            asking.cancel()
            watching.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)

    def _lost(self) -> None:
        self.feed.lost()
        self._interrupt()

    def _interrupt(self) -> None:
        now = asyncio.get_running_loop().time()
        for interruption in self._waiting:
            if not interruption.expired():
                interruption.reschedule(now)

    def _interrupted(self) -> RequestFailedError:
        return self._ending or _unavailable(
            "the connection to NATS was lost before the answer came; what was asked for may have been done: "
            "look before asking again"
        )


async def _until_managers_gone(client: Client, asked_at: datetime) -> None:
    """Return when nobody is left who could have received a request at `asked_at`.

    A request that is sent in the moment in which its receiver dies is lost without a word; NATS says "no responders"
    only to the next one.
    """
    subject = subjects.api_operation(operations.NODES_LIST.resource, operations.NODES_LIST.verb)
    while True:
        await asyncio.sleep(WATCH_S)
        try:
            reply = await client.request(subject, b"{}", timeout=WATCH_S)
            nodes = operations.NODES_LIST.result.model_validate(Response.model_validate_json(reply.data).result)
        except nats.errors.NoRespondersError:
            return
        except (nats.errors.Error, OSError, TimeoutError, ValidationError):
            continue
        if isinstance(nodes, NodeList) and nodes.items and all(node.started_at > asked_at for node in nodes.items):
            return


def result_of(operation: Operation, body: bytes) -> Message:
    """What an answer says. Raises RequestFailedError: what it refuses with, or `internal` where it makes no sense."""
    try:
        # HTTP could not pass on numbers that are none.
        response = Response.model_validate(from_json(body, allow_inf_nan=False))
        if response.status == "success":
            return operation.result.model_validate(response.result)
    except ValidationError as error:
        raise _nonsense(operation, f"{error.error_count()} fields are wrong") from error
    except ValueError as error:
        raise _nonsense(operation, f"it is not JSON: {error}") from error
    if response.error is None:
        raise _nonsense(operation, "an error without a code")
    raise RequestFailedError.of(response.error)


def _unavailable(message: str) -> RequestFailedError:
    return RequestFailedError(ErrorCode.UNAVAILABLE, message, retryable=True)


def _timeout(operation: Operation, limit_s: float) -> RequestFailedError:
    return RequestFailedError(
        ErrorCode.TIMEOUT,
        f"no manager answered {operation.name} within {limit_s:g} s; {_before_asking_again(operation)}",
        retryable=True,
    )


def _before_asking_again(operation: Operation) -> str:
    if operation.kind is Kind.QUERY:
        return "try again in a moment"
    return "what was asked for may have been done: look before asking again"


def _nonsense(operation: Operation, what: str) -> RequestFailedError:
    return RequestFailedError(
        ErrorCode.INTERNAL,
        f"the manager's answer to {operation.name} cannot be read ({what}); do manager and API differ in release?",
    )
