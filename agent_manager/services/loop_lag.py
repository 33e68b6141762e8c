"""How late the event loop is: what is due at a moment is done when the loop gets to it."""

from __future__ import annotations

import asyncio

from agent_manager.ports.observation import Observer

LOOK_S = 1.0
"""How often it is measured."""


async def measure_loop_lag(observer: Observer) -> None:
    """Measure, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + LOOK_S
        await asyncio.sleep(LOOK_S)
        observer.loop_lagged(max(0.0, loop.time() - due_at))
