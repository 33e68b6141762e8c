"""Answers on their way out: as bytes that the bus carries, to where they may go."""

from __future__ import annotations

import logging

import nats.errors
from nats.aio.msg import Msg
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from agent_manager.domain.errors import AgentManagerError, TooLargeError
from agent_manager.protocol import headers, subjects
from agent_manager.protocol.messages import Response
from agent_manager.transport import requests

log = logging.getLogger(__name__)


async def send(message: Msg, response: Response) -> Response:
    """Answer a request; returns what was sent, an error instead of a result that cannot be.

    Raises nothing: what cannot be sent is logged, and its requester's time runs out.
    """
    client = message._client
    response, body = _encoded(response, client.max_payload // 2)
    error = response.error
    heads = (
        {ERROR_HEADER: headers.one_line(error.message), ERROR_CODE_HEADER: error.code} if error is not None else None
    )
    try:
        await client.publish(_address(message), body, headers=heads)
    except nats.errors.Error as reason:
        log.warning("not_answered", extra={"subject": message.subject, "error": str(reason)})
    return response


def _address(message: Msg) -> str:
    """The manager may publish anywhere: it must not do so in somebody else's place."""
    reply = message.reply
    return reply if reply.startswith(subjects.INBOX_PREFIX) else subjects.MANAGER_RESPONSE


def _encoded(response: Response, limit: int) -> tuple[Response, bytes]:
    try:
        body = response.model_dump_json().encode()
    except ValueError:
        log.exception("answer_not_encodable", extra={"command": response.command})
        return _refused(response, requests.internal_error())
    if len(body) <= limit:
        return response, body
    too_large = TooLargeError(
        f"the answer has {len(body):,} bytes, the bus carries {limit:,}; ask for less (page_size, tail)",
        detail={"bytes": len(body), "max_bytes": limit},
    )
    return _refused(response, too_large)


def _refused(response: Response, error: AgentManagerError) -> tuple[Response, bytes]:
    refused = response.model_copy(update={"status": "error", "result": None, "error": requests.body_of(error)})
    return refused, refused.model_dump_json().encode()
