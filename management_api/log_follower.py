"""One reader's way through the output of an agent: what was written, then what is being written.

Live lines carry the numbers of their bytes. What does not begin where the last one ended (too slow, or the bus, the
manager or this API was away) is asked of the manager again from there, as at the beginning. So nothing is lost or
repeated as long as its file is there; what no file has any more is told as a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from pydantic import BaseModel

from agent_manager.protocol import operations
from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from agent_manager.protocol.messages import LogLines
from agent_manager.protocol.operations import MAX_LOG_LINES, FollowParams
from agent_manager.protocol.resources import FollowResult, StatusResult
from management_api import log_positions
from management_api.log_inbox import LogInbox
from management_api.log_positions import Position
from management_api.manager_client import ManagerClient
from management_api.server_sent import frame, mark

LEASE_S = 15.0
RENEW_S = 5.0
"""How often the manager is asked again: three times a lease."""
LOOK_S = 1.0
"""How often it is looked whether the agent has stopped, where the stream is to end then."""
STOPPED_S = 2.0
"""How long after its stop an agent's last output is waited for."""
RETRY_S = 0.5
"""Pause while there is no manager, or no bus."""

_STOPPED = frozenset({"stopped", "error"})


class LogGap(BaseModel):
    """Output that is gone. `bytes` is None where the numbers have begun anew: its files were removed."""

    instance_id: str
    stream: str
    bytes: int | None


class FollowEnd(BaseModel):
    """Nothing will follow."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a reader wants: of which agent, perhaps one instance; `tail` lines to begin with, or from positions on."""

    agent_id: str
    instance_id: str | None = None
    tail: int = 0
    positions: Mapping[int, Position] | None = None
    until_stopped: bool = False


class LogFollower:
    """Reads for one reader; `frames` is its stream of server-sent events."""

    def __init__(self, manager: ManagerClient, wish: Wish, *, backlog_bytes: int) -> None:
        self._manager = manager
        self._wish = wish
        self._inbox = LogInbox(limit_bytes=backlog_bytes)
        self._positions: dict[int, Position] = dict(wish.positions or {})
        self._tail = MAX_LOG_LINES if wish.positions is not None else wish.tail
        self._behind: list[int] = []
        """Instances to ask the manager for, each at most once."""
        self._look_at = 0.0
        self._stopped_at: float | None = None

    async def check(self) -> None:
        """Raise RequestFailedError where there is nothing to follow, or nobody to ask."""
        await self._instances()

    async def frames(self) -> AsyncGenerator[bytes]:
        """Events `lines`, `gap` and `end`. Waits for managers that are away; ends with the agent, as far as wished."""
        try:
            while True:
                try:
                    for event in await self._step():
                        yield event
                    if self._is_over():
                        yield self._frame("end", FollowEnd(reason="stopped"))
                        return
                except RequestFailedError as error:
                    if not error.retryable:
                        yield self._frame("end", FollowEnd(reason=error.code))
                        return
                    self._look_at = 0.0
                    await asyncio.sleep(RETRY_S)
        finally:
            await self._inbox.close()

    async def _step(self) -> list[bytes]:
        """Do one thing, the most urgent one."""
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            await self._look(now)
        if self._behind:
            return await self._catch_up(self._behind.pop(0))
        if (lines := self._inbox.take()) is not None:
            return list(self._live(lines))
        await self._inbox.wait(self._look_at - now)
        return []

    async def _look(self, now: float) -> None:
        """Which instances there are; all are then asked for, which renews leases and shows what was lost."""
        status = await self._instances()
        self._behind = [_ordinal(view.id) for view in status.instances if self._wish.instance_id in (None, view.id)]
        client = self._manager.check_connected()
        for ordinal in self._behind:
            await self._inbox.listen(client, self._instance_id(ordinal))
        is_stopped = all(view.status in _STOPPED for view in status.instances)
        self._stopped_at = (self._stopped_at or now) if is_stopped else None
        self._look_at = now + (LOOK_S if self._wish.until_stopped else RENEW_S)

    async def _instances(self) -> StatusResult:
        status = cast(StatusResult, await self._manager.call(operations.AGENTS_STATUS, agent_id=self._wish.agent_id))
        named = self._wish.instance_id
        if named is not None and named not in [view.id for view in status.instances]:
            raise RequestFailedError(ErrorCode.NOT_FOUND, f"agent {self._wish.agent_id} has no instance {named}")
        return status

    async def _catch_up(self, ordinal: int) -> list[bytes]:
        known = self._positions.get(ordinal)
        params = FollowParams(
            instance_id=self._instance_id(ordinal),
            out=known.out if known is not None else None,
            err=known.err if known is not None else None,
            tail=self._tail,
            lease_s=LEASE_S,
        )
        result = cast(
            FollowResult,
            await self._manager.call(operations.AGENTS_FOLLOW, agent_id=self._wish.agent_id, params=params),
        )
        if result.more:
            self._behind.append(ordinal)
        elif not self._behind:
            # Whoever comes later is shown whole.
            self._tail = MAX_LOG_LINES
        if known is None:
            starts = {lines.stream: lines.start for lines in result.streams}
            self._positions[ordinal] = Position(out=starts.get("out", 0), err=starts.get("err", 0))
        told = [event for lines in result.streams for event in self._told(ordinal, lines)]
        return told or ([mark(self._id())] if known is None else [])

    def _live(self, lines: LogLines) -> Iterator[bytes]:
        ordinal = _ordinal(lines.instance_id)
        known = self._positions.get(ordinal)
        if known is None:
            return
        position = getattr(known, lines.stream)
        if lines.start == position:
            yield from self._told(ordinal, lines)
        elif lines.end > position and ordinal not in self._behind:
            self._behind.append(ordinal)

    def _told(self, ordinal: int, lines: LogLines) -> Iterator[bytes]:
        """The events for what follows a position, which it then moves."""
        known = self._positions[ordinal]
        position = getattr(known, lines.stream)
        if lines.start != position:
            self._positions[ordinal] = replace(known, **{lines.stream: lines.start})
            lost = lines.start - position if lines.start > position else None
            yield self._frame("gap", LogGap(instance_id=lines.instance_id, stream=lines.stream, bytes=lost))
        self._positions[ordinal] = replace(self._positions[ordinal], **{lines.stream: lines.end})
        if lines.lines:
            yield self._frame("lines", lines)

    def _is_over(self) -> bool:
        if not self._wish.until_stopped or self._stopped_at is None or self._behind:
            return False
        return asyncio.get_running_loop().time() - self._stopped_at >= STOPPED_S

    def _instance_id(self, ordinal: int) -> str:
        return f"{self._wish.agent_id}_{ordinal}"

    def _id(self) -> str:
        return log_positions.written(self._positions)

    def _frame(self, event: str, data: BaseModel) -> bytes:
        return frame(event, data, event_id=self._id())


def _ordinal(instance_id: str) -> int:
    return int(instance_id.rpartition("_")[2])
