"""Requests from the manager to one instance, on `agent.{instance_id}.command`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import nats.errors
from nats.aio.client import Client
from pydantic import ValidationError

from agent_manager.domain.errors import UnavailableError
from agent_manager.protocol import subjects, tracing
from agent_manager.protocol.messages import Envelope, Response


class NatsAgentChannel:
    """Implements `ports.bus.AgentChannel`."""

    def __init__(self, client: Callable[[], Client | None]) -> None:
        self._client = client

    async def ask(
        self, instance_id: str, command: str, params: Mapping[str, Any], *, timeout_s: float
    ) -> Mapping[str, Any]:
        """See the port."""
        client = self._client()
        if client is None:
            raise UnavailableError(f"{instance_id} cannot be asked to {command}: the bus is not connected")
        now = datetime.now(UTC)
        request = Envelope(
            id=uuid.uuid4().hex,
            command=command,
            params=dict(params),
            timestamp=now,
            deadline=now + timedelta(seconds=timeout_s),
        )
        try:
            answer = await client.request(
                subjects.agent_command(instance_id),
                request.model_dump_json().encode(),
                timeout=timeout_s,
                headers=tracing.carried(),
            )
            response = Response.model_validate_json(answer.data)
        except nats.errors.NoRespondersError as error:
            raise UnavailableError(f"{instance_id} does not listen on the bus") from error
        except (nats.errors.Error, TimeoutError) as error:
            raise UnavailableError(f"{instance_id} did not answer {command} within {timeout_s:g} s") from error
        except ValidationError as error:
            raise UnavailableError(f"{instance_id} answered {command} with something unreadable") from error
        if response.error is not None:
            raise UnavailableError(f"{instance_id} refused {command}: {response.error.message}")
        if not isinstance(response.result, dict | None):
            raise UnavailableError(f"{instance_id} answered {command} with a result that is no object")
        return response.result or {}
