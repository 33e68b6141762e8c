"""How processes end."""

import os
import resource
import time
from dataclasses import asdict, dataclass
from typing import Any

from agent_manager.launcher.fields import Fields, count, lines_by_stream, name, natural, number, truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """What `wait4` tells of a process: exactly one of `code` and `signal` is set; `ended_at` in Unix seconds."""

    pid: int
    code: int | None
    signal: int | None
    core_dumped: bool
    max_rss_kb: int
    user_s: float
    system_s: float
    ended_at: float

    @classmethod
    def now(cls, pid: int, status: int, usage: resource.struct_rusage) -> "Exit":
        """The exit of a process that has just been reaped with this wait status."""
        by_signal = os.WIFSIGNALED(status)
        return cls(
            pid=pid,
            code=None if by_signal else os.WEXITSTATUS(status),
            signal=os.WTERMSIG(status) if by_signal else None,
            core_dumped=by_signal and os.WCOREDUMP(status),
            max_rss_kb=usage.ru_maxrss,
            user_s=usage.ru_utime,
            system_s=usage.ru_stime,
            ended_at=time.time(),
        )

    def __str__(self) -> str:
        return f"exit code {self.code}" if self.signal is None else f"signal {self.signal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """The exit of a launch. `started_at` in Unix seconds; `oom_killed`: processes of it were killed for want of memory.

    `last_lines` is what it had to say at last, by stream (`out`, `err`); None until its output is in the files.
    `acknowledged` says that it is recorded, but for these.
    """

    slot: str
    launch_id: str
    started_at: float
    exit: Exit
    oom_killed: bool = False
    last_lines: dict[str, list[str]] | None = None
    acknowledged: bool = False

    @classmethod
    def restore(cls, fields: Fields) -> "ExitRecord":
        """From `to_json`, and whether it was acknowledged. Raises FieldError."""
        ended = Exit(
            pid=fields.get("pid", count),
            code=fields.optional("code", natural),
            signal=fields.optional("signal", count),
            core_dumped=fields.get("core_dumped", truth),
            max_rss_kb=fields.get("max_rss_kb", natural),
            user_s=fields.get("user_s", number),
            system_s=fields.get("system_s", number),
            ended_at=fields.get("ended_at", number),
        )
        return cls(
            slot=fields.get("slot", name),
            launch_id=fields.get("launch_id", name),
            started_at=fields.get("started_at", number),
            exit=ended,
            oom_killed=fields.get("oom_killed", truth),
            last_lines=fields.optional("last_lines", lines_by_stream),
            acknowledged=fields.get("acknowledged", truth),
        )

    def to_json(self) -> dict[str, Any]:
        """The `exit` of the protocol."""
        fields = asdict(self)
        del fields["acknowledged"]
        ended: dict[str, Any] = fields.pop("exit")
        return fields | ended
