"""The agent's configuration, which may be replaced while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from agent_manager.sdk.calling import Function, call
from agent_manager.sdk.errors import CommandError


class Configuration:
    """The present configuration, and the hook that has to accept the next one."""

    def __init__(self, config: Mapping[str, Any], on_config: Function | None) -> None:
        self._present: Mapping[str, Any] = MappingProxyType(dict(config))
        self._on_config = on_config
        self._changing = asyncio.Lock()

    @property
    def present(self) -> Mapping[str, Any]:
        """The configuration in force, read-only."""
        return self._present

    async def command(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The built-in `config`: puts `params["config"]` in force where there is one, and returns what is in force.

        Raises CommandError when it is no object, and whatever the hook raises: the former configuration then stays.
        """
        if "config" in params:
            await self._replace(params["config"])
        return {"config": dict(self._present)}

    async def _replace(self, config: Any) -> None:
        if not isinstance(config, dict):
            raise CommandError(
                f"field 'params.config' must be a JSON object, not {type(config).__name__}",
                detail={"field": "params.config"},
            )
        async with self._changing:
            config = MappingProxyType(dict(config))
            if self._on_config is not None:
                await call(self._on_config, config)
            self._present = config
