"""The file that tells others what runs here, and where."""

import contextlib
import json
import os
from collections.abc import Mapping

from agent_manager.launcher.diagnostics import warn
from agent_manager.launcher.service_table import StateFile


def write(
    state: StateFile, pids: Mapping[str, int | None], *, reloads: int, refusals: int, refusal: str | None
) -> None:
    """Replace the file (0600) with `content` and `pids`, at once or not at all; a failure is a warning.

    `reloads` counts how often the launcher was replaced, `refusals` how often this one was not, `refusal` says why.
    """
    fresh = f"{state.path}.new"
    try:
        with open(fresh, "w", encoding="utf-8", opener=_private) as file:
            told = {"pids": pids, "reloads": reloads, "reloads_refused": refusals, "reload_refused": refusal}
            json.dump(state.content | told, file)
        os.replace(fresh, state.path)
    except OSError as error:
        warn(f"state file: {error}")


def remove(state: StateFile) -> None:
    """Remove the file, if it is there."""
    with contextlib.suppress(OSError):
        os.unlink(state.path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
