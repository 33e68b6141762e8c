"""The subjects an agent listens on: those of the instance for its whole life, those it shares while it takes work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.msg import Msg

from agent_manager.protocol import subjects
from agent_manager.sdk.command_dispatch import CommandDispatch
from agent_manager.sdk.connection import Connection, Listening
from agent_manager.sdk.endpoints import Endpoint
from agent_manager.sdk.errors import describe
from agent_manager.sdk.launch_environment import Identity

_log = logging.getLogger(__name__)


class Reception:
    """Hands what arrives for one launch to its dispatch."""

    def __init__(self, identity: Identity, connection: Connection, tasks: asyncio.TaskGroup) -> None:
        agent_id, instance_id = identity.agent_id, identity.instance_id
        command = Endpoint(name="command", subject=subjects.agent_command(agent_id), queue_group=agent_id)
        query = Endpoint(name="query", subject=subjects.agent_query(agent_id), queue_group=agent_id)
        self.endpoints = (command, query)
        self._connection = connection
        self._tasks = tasks
        self._instance_subjects = subjects.agent_requests(instance_id)
        self._endpoint_of = {
            command.subject: command,
            query.subject: query,
            subjects.agent_command(instance_id): command,
            subjects.agent_query(instance_id): query,
        }
        self._shared: list[Listening] = []

    async def open(self, dispatch: CommandDispatch) -> None:
        """Listen to what is addressed to this instance. Raises what `Connection.subscribe` does."""
        self._received = self._receiver(dispatch)
        await self._connection.subscribe(self._instance_subjects, self._received)

    async def join(self) -> None:
        """Take a share of what is addressed to the agent, after `open`. Raises as `open` does."""
        for endpoint in self.endpoints:
            self._shared.append(
                await self._connection.subscribe(endpoint.subject, self._received, queue=endpoint.queue_group)
            )

    async def leave(self, timeout_s: float | None) -> None:
        """Leave what is addressed to the agent to its other instances; returns when all that came here has been taken.

        Or after `timeout_s` seconds, where given: leaving then goes on by itself.
        """
        shared, self._shared = self._shared, []
        if not shared or not self._connection.is_connected:
            return
        leaving = [self._tasks.create_task(self._drained(each), name=f"leaving {each.subject}") for each in shared]
        await asyncio.wait(leaving, timeout=timeout_s)

    async def _drained(self, listening: Listening) -> None:
        try:
            await self._connection.leave(listening)
        except (nats.errors.Error, OSError) as error:
            _log.warning("could not leave %s: %s", listening.subject, describe(error))

    def _receiver(self, dispatch: CommandDispatch) -> Callable[[Msg], Awaitable[None]]:
        async def received(message: Msg) -> None:
            endpoint = self._endpoint_of.get(message.subject)
            if endpoint is None:
                dispatch.refuse(message)
            else:
                dispatch.accept(message, endpoint)

        return received
