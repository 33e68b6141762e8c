"""Health checks: the author's own opinion of how the agent is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from agent_manager.sdk.calling import Function, call
from agent_manager.sdk.errors import describe

CHECK_TIMEOUT_S = 10.0


class HealthCheck:
    """Runs the hook once at a time, however many ask: all of them get the same result."""

    def __init__(self, hook: Function | None, tasks: asyncio.TaskGroup) -> None:
        self._hook = hook
        self._tasks = tasks
        self._checking: asyncio.Task[dict[str, Any]] | None = None

    async def command(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The built-in `health`: `{healthy, detail?, error?}`. Unhealthy when the hook takes over 10 s or raises."""
        if self._checking is None or self._checking.done():
            self._checking = self._tasks.create_task(self._check(), name="health check")
        # A check that hangs goes on: another one would hang too, in one more thread.
        done, _ = await asyncio.wait((self._checking,), timeout=CHECK_TIMEOUT_S)
        if not done:
            return {"healthy": False, "error": f"the health check did not end within {CHECK_TIMEOUT_S:g} s"}
        return self._checking.result()

    async def _check(self) -> dict[str, Any]:
        if self._hook is None:
            return {"healthy": True}
        try:
            opinion = await call(self._hook)
        except Exception as error:
            return {"healthy": False, "error": describe(error)}
        if isinstance(opinion, Mapping):
            detail = {key: value for key, value in opinion.items() if key != "healthy"}
            return {"healthy": opinion.get("healthy", True) is True, "detail": detail}
        return {"healthy": opinion is None or opinion is True}
