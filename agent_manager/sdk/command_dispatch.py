"""From a request to its answer: reading, choosing the handler, carrying it out, answering.

Every request has a task of its own, so that one slow handler delays nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nats.aio.msg import Msg

from agent_manager.protocol import tracing
from agent_manager.protocol.errors import ErrorCode
from agent_manager.protocol.messages import Envelope
from agent_manager.sdk.answers import Answer, encode
from agent_manager.sdk.calling import Function, call
from agent_manager.sdk.command_slots import CommandSlots
from agent_manager.sdk.connection import Connection
from agent_manager.sdk.endpoints import Endpoint
from agent_manager.sdk.errors import CommandError, describe
from agent_manager.sdk.requests import Heading, heading_of, parse, validated
from agent_manager.sdk.status import Status

BuiltIn = Callable[[Mapping[str, Any]], Awaitable[Any]]

_log = logging.getLogger(__name__)


class CommandDispatch:
    """Answers requests for one launch. `built_in` are always carried out, `own` while running and a slot is free."""

    def __init__(
        self,
        *,
        agent_id: str,
        response_subject: str,
        built_in: Mapping[str, BuiltIn],
        own: Mapping[str, Function],
        status: Status,
        slots: CommandSlots,
        connection: Connection,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._agent_id = agent_id
        self._response_subject = response_subject
        self._built_in = built_in
        self._own = own
        self._status = status
        self._slots = slots
        self._connection = connection
        self._tasks = tasks

    def accept(self, message: Msg, endpoint: Endpoint) -> None:
        """Begin to answer a request that came to `endpoint`."""
        self._tasks.create_task(self._handle(message, endpoint), name=f"request on {message.subject}")

    def refuse(self, message: Msg) -> None:
        """Answer a request on a subject of which this agent knows nothing, if an answer is wanted."""
        if not message.reply:
            return
        error = CommandError(
            f"this agent does not answer on {message.subject}; it answers on command and query",
            code=ErrorCode.UNSUPPORTED,
        )
        answer = Answer(agent_id=self._agent_id, heading=Heading(), error=error)
        self._tasks.create_task(self._send(message, answer), name=f"refusal on {message.subject}")

    async def _handle(self, message: Msg, endpoint: Endpoint) -> None:
        begun_ns = time.perf_counter_ns()
        with tracing.bound(tracing.received(message.headers)):
            sent = await self._send(message, await self._answer(message))
        endpoint.record(time.perf_counter_ns() - begun_ns, sent.error.message if sent.error else None)

    async def _send(self, message: Msg, answer: Answer) -> Answer:
        answer, body = encode(answer, max_payload=self._connection.max_payload)
        await self._connection.answer(message, message.reply or self._response_subject, body, answer.headers)
        return answer

    async def _answer(self, message: Msg) -> Answer:
        heading = Heading()
        try:
            document = parse(message.data)
            heading = heading_of(document)
            if not tracing.names_request(message.headers):
                tracing.rename(heading.id)
            result = await self._carry_out(validated(document))
        except CommandError as error:
            return Answer(agent_id=self._agent_id, heading=heading, error=error)
        except asyncio.CancelledError:
            return Answer(agent_id=self._agent_id, heading=heading, error=_cut_short(heading))
        except Exception as error:
            _log.exception("command %r failed", heading.command)
            failure = CommandError(describe(error), code=ErrorCode.INTERNAL)
            return Answer(agent_id=self._agent_id, heading=heading, error=failure)
        return Answer(agent_id=self._agent_id, heading=heading, result=result)

    async def _carry_out(self, envelope: Envelope) -> Any:
        built_in = self._built_in.get(envelope.command)
        if built_in is not None:
            return await built_in(envelope.params)
        own = self._own.get(envelope.command)
        if own is None:
            known = sorted({*self._built_in, *self._own})
            raise CommandError(
                f"this agent has no command {envelope.command!r}; it has {', '.join(known)}",
                code=ErrorCode.UNSUPPORTED,
                detail={"commands": known},
            )
        self._status.check_takes_commands()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a command is carried out in a task")
        with self._slots.occupied(task):
            return await call(own, envelope.params)


def _cut_short(heading: Heading) -> CommandError:
    return CommandError(
        f"the agent stopped before {heading.command!r} was finished; part of it may have been done",
        code=ErrorCode.UNAVAILABLE,
        retryable=True,
    )
