"""One handler per operation: parameters in, result out, the service in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from agent_manager.domain.identifiers import instance_id
from agent_manager.protocol import operations, resources
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import (
    ChangeParams,
    FollowParams,
    LogsParams,
    Operation,
    PackageParams,
    PageParams,
)
from agent_manager.services.commands import Changed, Commands
from agent_manager.services.log_following import LogFollowing
from agent_manager.services.queries import Queries
from agent_manager.transport import views
from agent_manager.transport.live_logs import of_piece

T = TypeVar("T", bound=Message)

MAX_PAGE_BYTES = 2_000_000
"""A page is cut short above this; half of the smallest `max_payload` the product is run with."""
MAX_LAST_LINES_BYTES = 1_000_000
"""Room for the last lines of exits in one answer about one agent; answers about several have none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A decoded request. `agent_id` is set where the operation addresses an agent, `actor` where it is believed."""

    agent_id: str
    params: Any
    actor: str | None


Handler = Callable[[Call], Awaitable[Message]]


class Handlers:
    """The handlers, over the services."""

    def __init__(self, commands: Commands, queries: Queries, following: LogFollowing) -> None:
        self._commands = commands
        self._queries = queries
        self._following = following

    def table(self) -> dict[Operation, Handler]:
        """Every operation with its handler."""
        return {
            operations.AGENTS_LIST: self._agents,
            operations.AGENTS_GET: self._agent,
            operations.AGENTS_STATUS: self._status,
            operations.AGENTS_METRICS: self._metrics,
            operations.AGENTS_LOGS: self._logs,
            operations.AGENTS_FOLLOW: self._follow,
            operations.AGENTS_START: self._start,
            operations.AGENTS_STOP: self._stop,
            operations.AGENTS_RESTART: self._restart,
            operations.INSTANCES_LIST: self._instances,
            operations.PACKAGES_LIST: self._packages,
            operations.PACKAGES_RETRY: self._retry_package,
            operations.NODES_LIST: self._nodes,
        }

    async def _agents(self, call: Call) -> Message:
        page: PageParams = call.params
        found = await self._queries.agents(after=page.page_token or "", limit=page.page_size + 1)
        items = [views.of_agent(snapshot) for snapshot in found]
        kept, token = _page(items, page.page_size, lambda agent: agent.id)
        return resources.AgentList(items=kept, next_page_token=token)

    async def _agent(self, call: Call) -> Message:
        return views.of_agent(await self._queries.agent(call.agent_id), last_lines_bytes=MAX_LAST_LINES_BYTES)

    async def _status(self, call: Call) -> Message:
        return views.of_status(await self._queries.agent(call.agent_id))

    async def _metrics(self, call: Call) -> Message:
        measured = await self._queries.measurements(call.agent_id)
        return resources.MetricsResult(
            agent_id=call.agent_id, instances=[views.of_measurement(instance) for instance in measured]
        )

    async def _logs(self, call: Call) -> Message:
        params: LogsParams = call.params
        tails = await self._queries.log_tails(call.agent_id, lines=params.tail, only=params.instance_id)
        return resources.LogsResult(agent_id=call.agent_id, streams=[views.of_log_tail(tail) for tail in tails])

    async def _follow(self, call: Call) -> Message:
        params: FollowParams = call.params
        named = await self._queries.instance_id(call.agent_id, params.instance_id or instance_id(call.agent_id, 0))
        starts = {stream: start for stream, start in (("out", params.out), ("err", params.err)) if start is not None}
        pieces = await self._following.follow(named, starts=starts, tail=params.tail, lease_s=params.lease_s)
        return resources.FollowResult(
            agent_id=call.agent_id,
            instance_id=named,
            streams=[of_piece(named, stream, piece) for stream, piece in pieces.items()],
            more=any(piece.more for piece in pieces.values()),
            lease_s=params.lease_s,
        )

    async def _start(self, call: Call) -> Message:
        return await self._changed(self._commands.start, call)

    async def _stop(self, call: Call) -> Message:
        return await self._changed(self._commands.stop, call)

    async def _restart(self, call: Call) -> Message:
        return await self._changed(self._commands.restart, call)

    async def _changed(self, command: Callable[..., Awaitable[Changed]], call: Call) -> Message:
        params: ChangeParams = call.params
        changed = await command(call.agent_id, actor=call.actor, wait_s=params.wait_s)
        snapshot = await self._queries.as_changed(changed)
        return resources.ChangeResult(agent=views.of_agent(snapshot), done=changed.done)

    async def _instances(self, call: Call) -> Message:
        page: PageParams = call.params
        found = await self._queries.all_measurements(after=page.page_token or "", limit=page.page_size + 1)
        kept, token = _page([views.of_sample(one) for one in found], page.page_size, lambda instance: instance.id)
        return resources.InstanceList(items=kept, next_page_token=token)

    async def _packages(self, call: Call) -> Message:
        page: PageParams = call.params
        found = await self._queries.packages(after=page.page_token or "", limit=page.page_size + 1)
        items = [views.of_package(package) for package in found]
        kept, token = _page(items, page.page_size, lambda package: package.name)
        return resources.PackageList(items=kept, next_page_token=token)

    async def _retry_package(self, call: Call) -> Message:
        params: PackageParams = call.params
        return views.of_package(await self._commands.retry_package(params.name, actor=call.actor))

    async def _nodes(self, call: Call) -> Message:
        page: PageParams = call.params
        items = [node for node in [views.of_node(self._queries.this_node())] if node.id > (page.page_token or "")]
        return resources.NodeList(items=items)


def _page(items: list[T], size: int, key: Callable[[T], str]) -> tuple[list[T], str | None]:
    """The first `size` items, fewer where they would be too large, and the token of the next page, if any."""
    kept = items[:size]
    while len(kept) > 1 and sum(len(item.model_dump_json().encode()) for item in kept) > MAX_PAGE_BYTES:
        kept = kept[: len(kept) // 2]
    return kept, key(kept[-1]) if len(items) > len(kept) else None
