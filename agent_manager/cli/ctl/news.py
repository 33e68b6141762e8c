"""That something happened, as the event stream tells it: a reason to look again, no more."""

from __future__ import annotations

import asyncio

from agent_manager.cli.ctl.api import Api
from agent_manager.cli.ctl.failures import AgentctlError

RECONNECT_S = 1.0


class News:
    """Set by every event, and whenever the stream was away, when anything may have happened."""

    def __init__(self, api: Api, agent_id: str | None) -> None:
        self._api = api
        self._parameters = {} if agent_id is None else {"agent_id": agent_id}
        self._has_come = asyncio.Event()

    async def listen(self) -> None:
        """Listen until cancelled, over restarts of the API; whoever also looks in intervals misses nothing."""
        while True:
            try:
                async with self._api.lines("/events", self._parameters) as lines:
                    async for line in lines:
                        if line.startswith(("data:", ": connected")):
                            self._has_come.set()
            except AgentctlError:
                # Said by whoever asks for the picture, which then fails too.
                self._has_come.set()
            await asyncio.sleep(RECONNECT_S)

    async def wait(self, timeout_s: float) -> None:
        """Return when there is news, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_come.wait()
        except TimeoutError:
            return
        finally:
            self._has_come.clear()
