"""The manager as a NATS micro service (ADR-32): one endpoint per operation, and the envelopes of R50 and R51.

Requests are carried out in tasks of their own, a bounded number at a time, so that a slow one holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg

from agent_manager.domain.errors import AgentManagerError, BusyError, InvalidRequestError
from agent_manager.ports.observation import UNOBSERVED, Observer, Tracer
from agent_manager.protocol import headers, operations, subjects, tracing
from agent_manager.protocol.discovery import DiscoverableService
from agent_manager.protocol.messages import Envelope, Message, Request, Response
from agent_manager.protocol.operations import ChangeParams, Kind, Operation
from agent_manager.transport import replies, requests
from agent_manager.transport.announcement import announce
from agent_manager.transport.handlers import Call, Handler
from agent_manager.transport.requests import Heading
from agent_manager.transport.statistics import Tally

MAX_AT_ONCE = 2_048
"""Requests carried out at the same time, those that wait included; more are told to come back.

A thousand agents may be started by a thousand requests.
"""
MAX_BYTES_AT_ONCE = 64_000_000
"""What these may have sent together: each holds that until it is answered. A few hundred bytes are the rule."""
MAX_WAITING = 256
"""Of these, those that hold their answer back until a change is done (`wait_s`): they leave room for all others.

So none waits where more than half of the bytes are taken.
"""
MAX_ACTOR = 256

log = logging.getLogger(__name__)


class Endpoints:
    """Registers the service with a client and answers its requests."""

    def __init__(
        self,
        *,
        handlers: Mapping[Operation, Handler],
        tasks: asyncio.TaskGroup,
        version: str,
        node_id: str,
        observer: Observer = UNOBSERVED,
        tracer: Tracer = UNOBSERVED,
    ) -> None:
        self._handlers = handlers
        self._tasks = tasks
        self._version = version
        self._node_id = node_id
        self.observer = observer
        self.tracer = tracer
        self._at_once = 0
        self._bytes_at_once = 0
        self._waiting = 0

    async def register(self, client: Client) -> None:
        """Subscribe to everything that can be asked."""
        endpoints = self._endpoints()
        for endpoint in endpoints:
            await client.subscribe(endpoint.tally.subject, queue=subjects.MANAGER_QUEUE, cb=endpoint.receive)
        service = DiscoverableService(
            name=subjects.SERVICE_NAME,
            service_id=uuid.uuid4().hex,
            version=self._version,
            description="Supervises agents: starts, stops and watches them, and answers what is known of them.",
            metadata={"node_id": self._node_id},
            endpoints=[endpoint.tally for endpoint in endpoints],
        )
        await announce(client, service)

    def _endpoints(self) -> list[_Endpoint]:
        endpoints = [
            _Endpoint(self, Tally(name="command", subject=subjects.MANAGER_COMMAND), envelope=True),
            _Endpoint(self, Tally(name="query", subject=subjects.MANAGER_QUERY), envelope=True, queries_only=True),
        ]
        for operation in self._handlers:
            name = f"{operation.resource}-{operation.verb}"
            own = Tally(name=name, subject=subjects.operation(operation.resource, operation.verb))
            api = Tally(name=f"api-{name}", subject=subjects.api_operation(operation.resource, operation.verb))
            endpoints.append(_Endpoint(self, own, operation=operation))
            endpoints.append(_Endpoint(self, api, operation=operation, believes_actor=True))
        return endpoints

    def start(self, endpoint: _Endpoint, message: Msg) -> bool:
        """Carry a request out in a task of its own; False when there are too many, or too large ones."""
        size = _size(message)
        if self._at_once >= MAX_AT_ONCE or self._bytes_at_once + size > MAX_BYTES_AT_ONCE:
            return False
        self._at_once += 1
        self._bytes_at_once += size
        task = self._tasks.create_task(endpoint.answer(message), name=f"request {message.subject}")
        task.add_done_callback(lambda _: self._finished(size))
        return True

    def _finished(self, size: int) -> None:
        self._at_once -= 1
        self._bytes_at_once -= size

    async def carry_out(self, operation: Operation, call: Call) -> Message:
        """Do what is asked. Raises BusyError when too many wait already, and what the handler raises."""
        with self._place(call):
            return await self._handlers[operation](call)

    @contextmanager
    def _place(self, call: Call) -> Iterator[None]:
        if not isinstance(call.params, ChangeParams) or call.params.wait_s <= 0:
            yield
            return
        if self._waiting >= MAX_WAITING or self._bytes_at_once > MAX_BYTES_AT_ONCE // 2:
            raise BusyError(
                f"at most {MAX_WAITING} requests wait for a change, and none while half of {MAX_BYTES_AT_ONCE:,} bytes "
                "are taken; send it again, or without wait_s"
            )
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


def _size(message: Msg) -> int:
    return len(message.data) + sum(len(name) + len(value) for name, value in (message.headers or {}).items())


class _Endpoint:
    """One subject: for one operation, or for whatever an envelope names."""

    def __init__(
        self,
        endpoints: Endpoints,
        tally: Tally,
        *,
        operation: Operation | None = None,
        envelope: bool = False,
        queries_only: bool = False,
        believes_actor: bool = False,
    ) -> None:
        self._endpoints = endpoints
        self._operation = operation
        self._model: type[Request] = Envelope if envelope else Request
        self._queries_only = queries_only
        self._believes_actor = believes_actor
        self._replies_to = f"{subjects.API_INBOX_PREFIX}." if believes_actor else subjects.INBOX_PREFIX
        self._name = operation.name if operation is not None else "unknown"
        self.tally = tally

    async def receive(self, message: Msg) -> None:
        """Called by the subscription: must not take time, the next request waits behind it."""
        self.tally.received += 1
        self._endpoints.observer.request_begun()
        if not self._endpoints.start(self, message):
            busy = BusyError(
                f"at most {MAX_AT_ONCE:,} requests of together {MAX_BYTES_AT_ONCE:,} bytes are carried out at once; "
                "send it again"
            )
            await self._reply(message, requests.failure(self._name, Heading(), busy), time.perf_counter_ns())

    async def answer(self, message: Msg) -> None:
        """Carry the request out and reply; whatever goes wrong becomes an answer."""
        began_ns = time.perf_counter_ns()
        with (
            tracing.bound(tracing.received(message.headers)),
            self._endpoints.tracer.span(f"nats {self._name}", {"subject": message.subject}, server=True),
        ):
            await self._reply(message, await self._carried_out(message), began_ns)

    async def _reply(self, message: Msg, response: Response, began_ns: int) -> None:
        sent = await replies.send(message, response)
        elapsed_ns = time.perf_counter_ns() - began_ns
        self.tally.count(sent.error, elapsed_ns)
        operation = self._operation or operations.of_envelope(response.command)
        name = operation.name if operation is not None else "unknown"
        outcome = sent.error.code if sent.error is not None else "success"
        self._endpoints.observer.request_answered(name, outcome, elapsed_ns / 1e9)
        facts = {
            "operation": name,
            "outcome": outcome,
            "agent_id": sent.agent_id,
            "elapsed_ms": elapsed_ns // 1_000_000,
        }
        is_query = operation is not None and operation.kind is Kind.QUERY
        log.log(logging.DEBUG if is_query and sent.error is None else logging.INFO, "request_answered", extra=facts)

    async def _carried_out(self, message: Msg) -> Response:
        try:
            self._check_reply(message)
            request = requests.decode(self._model, message.data)
            if not tracing.names_request(message.headers):
                tracing.rename(request.id)
            operation, name = self._operation, self._name
            if isinstance(request, Envelope):
                operation, name = requests.operation_of(request, queries_only=self._queries_only), request.command
            assert operation is not None
            call = requests.call_of(operation, request, self._actor(message), datetime.now(UTC))
            return requests.success(name, request, await self._endpoints.carry_out(operation, call))
        except AgentManagerError as error:
            return self._refusal(message, error)
        except Exception:
            log.exception("request_failed", extra={"subject": message.subject})
            return self._refusal(message, requests.internal_error())

    def _refusal(self, message: Msg, error: AgentManagerError) -> Response:
        heading = requests.heading_of(message.data)
        name = self._name if self._operation is not None else heading.command or self._name
        return requests.failure(name, heading, error)

    def _check_reply(self, message: Msg) -> None:
        """Refuse what nobody can have asked in earnest.

        JetStream publishes its acknowledgements to whatever reply subject an agent names, the manager's operations
        included, but never with a reply subject of their own; and only the API itself listens on its inbox.
        """
        reply = message.reply
        if not reply:
            if self._operation is not None:
                raise InvalidRequestError(f"{message.subject} is answered: name a reply subject")
        elif not reply.startswith(self._replies_to):
            raise InvalidRequestError(f"reply subject {reply!r} does not begin with {self._replies_to}")

    def _actor(self, message: Msg) -> str | None:
        actor = (message.headers or {}).get(headers.ACTOR) if self._believes_actor else None
        if actor is not None and not (0 < len(actor) <= MAX_ACTOR and actor.isprintable()):
            raise InvalidRequestError(f"{headers.ACTOR}: 1 to {MAX_ACTOR} printable characters name who asks")
        return actor
