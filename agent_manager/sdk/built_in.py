"""The commands every agent answers (`protocol.commands`), whatever else it is doing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agent_manager.protocol import commands
from agent_manager.protocol.errors import ErrorCode
from agent_manager.sdk.command_dispatch import BuiltIn
from agent_manager.sdk.command_slots import CommandSlots
from agent_manager.sdk.errors import CommandError
from agent_manager.sdk.heartbeat import Heartbeat
from agent_manager.sdk.launch_environment import Identity
from agent_manager.sdk.status import Status


class StatusCommands:
    """`ping`, `pause`, `resume` and `drain`. `leave` gives up the shared subjects, within seconds where given."""

    def __init__(
        self,
        *,
        identity: Identity,
        status: Status,
        heartbeat: Heartbeat,
        slots: CommandSlots,
        leave: Callable[[float | None], Awaitable[None]],
    ) -> None:
        self._identity = identity
        self._status = status
        self._heartbeat = heartbeat
        self._slots = slots
        self._leave = leave

    def table(self) -> dict[str, BuiltIn]:
        """The commands by name."""
        return {
            commands.PING: self._ping,
            commands.PAUSE: self._pause,
            commands.RESUME: self._resume,
            commands.DRAIN: self._drain,
        }

    async def drain(self, *, leaving_s: float | None = None) -> None:
        """Take no new commands from now on, and say so. Waits `leaving_s` at most for what is on its way."""
        # In this order what is on its way here already is carried out, not refused.
        await self._leave(leaving_s)
        self._status.drain()
        await self._heartbeat.beat()

    async def _ping(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "pong": True,
            "instance_id": self._identity.instance_id,
            "launch_id": self._identity.launch_id,
            "status": self._status.name,
        }

    async def _pause(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return await self._set_paused(True)

    async def _resume(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return await self._set_paused(False)

    async def _set_paused(self, paused: bool) -> dict[str, Any]:
        self._status.pause(paused)
        await self._heartbeat.beat()
        return {"status": self._status.name}

    async def _drain(self, params: Mapping[str, Any]) -> dict[str, Any]:
        meant = params.get("launch_id", self._identity.launch_id)
        if meant != self._identity.launch_id:
            raise CommandError(
                f"launch {meant} is to drain; this is its successor {self._identity.launch_id}",
                code=ErrorCode.CONFLICT,
                detail={"launch_id": self._identity.launch_id},
            )
        await self.drain()
        await self._slots.idle()
        return {"drained": True}
