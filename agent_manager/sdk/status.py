"""The status an agent reports of itself."""

from __future__ import annotations

from typing import Literal

from agent_manager.protocol.errors import ErrorCode
from agent_manager.sdk.errors import CommandError

StatusName = Literal["starting", "running", "paused", "draining"]


class Status:
    """Three facts, of which the weightiest is reported: a draining agent stays so, a starting one may be paused."""

    def __init__(self) -> None:
        self._started = False
        self._paused = False
        self._draining = False

    @property
    def started(self) -> bool:
        """Whether the agent has ever been able to work."""
        return self._started

    @property
    def name(self) -> StatusName:
        """The word for it on the wire."""
        if self._draining:
            return "draining"
        if not self._started:
            return "starting"
        return "paused" if self._paused else "running"

    def start(self) -> None:
        """The agent is able to work."""
        self._started = True

    def pause(self, paused: bool) -> None:
        """Take no new commands, or take them again. Raises CommandError (`conflict`) while draining."""
        if self._draining:
            raise CommandError(
                "the agent is draining and will end; it cannot be paused or resumed", code=ErrorCode.CONFLICT
            )
        self._paused = paused

    def drain(self) -> None:
        """Take no new commands until the end of this process."""
        self._draining = True

    def check_takes_commands(self) -> None:
        """Raises CommandError unless running: `conflict` when paused, else `unavailable`, as others may do it."""
        name = self.name
        if name == "running":
            return
        if name == "paused":
            code, advice = ErrorCode.CONFLICT, "resume it first"
        else:
            code, advice = ErrorCode.UNAVAILABLE, "ask again, or ask another instance"
        raise CommandError(
            f"the agent is {name} and takes no commands of its own now; {advice}",
            code=code,
            retryable=code is ErrorCode.UNAVAILABLE,
            detail={"status": name},
        )
