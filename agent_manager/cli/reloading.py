"""`agent-manager reload`: the version that is installed now takes over, and no agent notices."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from agent_manager.cli.service_table import LOCK_FILE, STATE_FILE
from agent_manager.domain.errors import ConflictError, UnavailableError
from agent_manager.protocol.release import release

TIMEOUT_S = 120.0
_LOOK_INTERVAL_S = 0.05


class NotRunningError(UnavailableError):
    """No node runs on the data directory."""


class ReloadRefusedError(ConflictError):
    """The installed version cannot take over; the node goes on as it was."""


def reload(data_dir: Path) -> str:
    """Have the launcher replaced, and wait until it is. Returns what to tell.

    Raises NotRunningError, ReloadRefusedError, and UnavailableError where nothing is told in time.
    """
    before = _state(data_dir)
    if "reloads" not in before:
        # Its launcher would take the signal for the end.
        raise ReloadRefusedError("the node runs a version that cannot be replaced while it runs; restart it once")
    os.kill(before["pids"]["launcher"], signal.SIGUSR2)
    after = _awaited(data_dir, before)
    if after["reloads"] == before["reloads"]:
        raise ReloadRefusedError(f"{after['reload_refused']}; the node goes on as it was")
    pids = ", ".join(f"{name} {before['pids'][name]} → {pid}" for name, pid in after["pids"].items())
    return f"agent-manager {release()} has taken over ({pids}); agents run on"


def _awaited(data_dir: Path, before: dict[str, Any]) -> dict[str, Any]:
    give_up_at = time.monotonic() + TIMEOUT_S
    while time.monotonic() < give_up_at:
        now = _state(data_dir)
        if (now["reloads"], now["reloads_refused"]) != (before["reloads"], before["reloads_refused"]):
            return now
        time.sleep(_LOOK_INTERVAL_S)
    raise UnavailableError(f"the launcher has told nothing for {TIMEOUT_S:g} s; its log says more")


def _state(data_dir: Path) -> dict[str, Any]:
    try:
        with open(data_dir / LOCK_FILE, "rb") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            raise NotRunningError(f"no node runs on {data_dir}; start one with `agent-manager up` or `run`")
        state: dict[str, Any] = json.loads((data_dir / STATE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotRunningError(
            f"no node runs on {data_dir}, or it is still starting; name another with --data-dir"
        ) from error
    return state
