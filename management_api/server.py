"""The HTTP server, stopping without being held up by those who still listen."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from management_api.manager_client import ManagerClient
from management_api.settings import Settings

GRACE_S = 2
"""How long answers may take to leave after the signal to stop, in seconds."""


class ApiServer(uvicorn.Server):
    """uvicorn, releasing before anything else whoever waits for a manager or for events: it would wait for them."""

    def __init__(self, app: FastAPI, manager: ManagerClient, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.service.host,
                port=settings.service.port,
                access_log=False,
                log_config=None,
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._manager = manager

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. uvicorn would then die of the same signal once more, which looks like a crash to a supervisor."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, answer who waits, close."""
        self._manager.release()
        await super().shutdown(sockets)
