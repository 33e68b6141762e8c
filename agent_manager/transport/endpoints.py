"""The manager as a NATS micro service (ADR-32): one endpoint per operation, and the envelopes of R50 and R51.

Requests are carried out in tasks of their own, a bounded number at a time, so that a slow one holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import nats.micro
from nats.aio.client import Client
from nats.micro.request import Request as MicroRequest

from agent_manager.domain.errors import AgentManagerError, BusyError, InvalidRequestError
from agent_manager.protocol import headers, subjects
from agent_manager.protocol.messages import Envelope, Request, Response
from agent_manager.protocol.operations import Operation
from agent_manager.transport import replies, requests
from agent_manager.transport.handlers import Handler
from agent_manager.transport.statistics import Tally

MAX_AT_ONCE = 512
"""Requests carried out at the same time, those that wait included; more are told to come back."""

log = logging.getLogger(__name__)


class Endpoints:
    """Registers the service with a client and answers its requests."""

    def __init__(
        self, *, handlers: Mapping[Operation, Handler], tasks: asyncio.TaskGroup, version: str, node_id: str
    ) -> None:
        self._handlers = handlers
        self._tasks = tasks
        self._version = version
        self._node_id = node_id
        self._at_once = 0

    async def register(self, client: Client) -> None:
        """Subscribe to everything that can be asked."""
        listed = self._endpoints()
        tallies = {subject: endpoint.tally for _, subject, endpoint in listed}
        service = await nats.micro.add_service(
            client,
            name=subjects.SERVICE_NAME,
            version=self._version,
            description="Supervises agents: starts, stops and watches them, and answers what is known of them.",
            metadata={"node_id": self._node_id},
            stats_handler=lambda stats: tallies[stats.subject].fill(stats),
        )
        for name, subject, endpoint in listed:
            await service.add_endpoint(
                name=name,
                subject=subject,
                queue_group=subjects.MANAGER_QUEUE,
                handler=endpoint.receive,
            )

    def _endpoints(self) -> list[tuple[str, str, _Endpoint]]:
        listed: list[tuple[str, str, _Endpoint]] = [
            ("command", subjects.MANAGER_COMMAND, _Endpoint(self, envelope=True)),
            ("query", subjects.MANAGER_QUERY, _Endpoint(self, envelope=True, queries_only=True)),
        ]
        for operation in self._handlers:
            name = f"{operation.resource}-{operation.verb}"
            own = subjects.operation(operation.resource, operation.verb)
            api = subjects.api_operation(operation.resource, operation.verb)
            listed.append((name, own, _Endpoint(self, operation=operation)))
            listed.append((f"api-{name}", api, _Endpoint(self, operation=operation, believes_actor=True)))
        return listed

    def start(self, endpoint: _Endpoint, message: MicroRequest) -> bool:
        """Carry a request out in a task of its own; False when there are too many."""
        if self._at_once >= MAX_AT_ONCE:
            return False
        self._at_once += 1
        task = self._tasks.create_task(endpoint.answer(message), name=f"request {message.subject}")
        task.add_done_callback(self._finished)
        return True

    def _finished(self, _: asyncio.Task[None]) -> None:
        self._at_once -= 1

    def handler(self, operation: Operation) -> Handler:
        """The handler of an operation."""
        return self._handlers[operation]


class _Endpoint:
    """One subject: for one operation, or for whatever an envelope names."""

    def __init__(
        self,
        endpoints: Endpoints,
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
        self.tally = Tally()

    async def receive(self, message: MicroRequest) -> None:
        """Called by the subscription: must not take time, the next request waits behind it."""
        if not self._endpoints.start(self, message):
            busy = BusyError(f"{MAX_AT_ONCE} requests are being carried out; send it again")
            await self._reply(message, requests.failure(self._name, None, busy), time.perf_counter_ns())

    async def answer(self, message: MicroRequest) -> None:
        """Carry the request out and reply; whatever goes wrong becomes an answer."""
        began_ns = time.perf_counter_ns()
        await self._reply(message, await self._carried_out(message), began_ns)

    async def _reply(self, message: MicroRequest, response: Response, began_ns: int) -> None:
        sent = await replies.send(message, response)
        self.tally.count(sent.error, time.perf_counter_ns() - began_ns)

    async def _carried_out(self, message: MicroRequest) -> Response:
        request: Request | None = None
        name = self._name
        try:
            self._check_reply(message)
            request = requests.decode(self._model, message.data)
            operation = self._operation
            if isinstance(request, Envelope):
                name = request.command
                operation = requests.operation_of(request, queries_only=self._queries_only)
            assert operation is not None
            call = requests.call_of(operation, request, self._actor(message), datetime.now(UTC))
            return requests.success(name, request, await self._endpoints.handler(operation)(call))
        except AgentManagerError as error:
            return requests.failure(name, request, error)
        except Exception:
            log.exception("request_failed", extra={"subject": message.subject})
            return requests.failure(name, request, requests.internal_error())

    def _check_reply(self, message: MicroRequest) -> None:
        """Refuse what nobody can have asked in earnest.

        JetStream publishes its acknowledgements to whatever reply subject an agent names, the manager's operations
        included, but never with a reply subject of their own; and only the API itself listens on its inbox.
        """
        reply = message._msg.reply
        if not reply:
            if self._operation is not None:
                raise InvalidRequestError(f"{message.subject} is answered: name a reply subject")
        elif not reply.startswith(self._replies_to):
            raise InvalidRequestError(f"reply subject {reply!r} does not begin with {self._replies_to}")

    def _actor(self, message: MicroRequest) -> str | None:
        if not self._believes_actor:
            return None
        return (message.headers or {}).get(headers.ACTOR)
