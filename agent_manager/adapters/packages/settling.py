"""When a folder has settled: nobody has written to it for long enough to believe that they have finished."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from agent_manager.adapters.packages.folder_tree import Entry, Tree

RECENT_S = 60.0
FREE_VERSIONS = 4
"""So many versions within `RECENT_S` are somebody at work; each further one has to be quiet for twice as long, so that
an agent that writes into its own folder at every start is not restarted for ever and ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a folder must have been quiet, and after how long something is done about one that never is."""

    quiet_s: float = 0.3
    longest_s: float = 30.0


class Settling:
    """The quiet of one folder. All times but those of files are monotonic seconds."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._entries: tuple[Entry, ...] | None = None
        self._since = 0.0
        self._restless_since: float | None = None
        self._taken: deque[float] = deque(maxlen=FREE_VERSIONS + 16)

    def seen(self, tree: Tree, now: float) -> None:
        """The tree as it is now."""
        if tree.entries != self._entries:
            self._entries, self._since = tree.entries, now
            if self._restless_since is None:
                self._restless_since = now

    def disturbed(self, now: float) -> None:
        """It changed while it was looked at."""
        self._entries, self._since = None, now
        if self._restless_since is None:
            self._restless_since = now

    def quiet_at(self, now: float) -> float:
        """When it will have settled if nobody writes any more."""
        recent = sum(1 for taken in self._taken if now - taken < RECENT_S)
        factor = 2.0 ** max(0, recent - FREE_VERSIONS)
        return self._since + min(self._patience.quiet_s * factor, self._patience.longest_s)

    def untouched(self, tree: Tree, wall_ns: int) -> bool:
        """Whether the files themselves say that nobody has written for long enough: for a folder never seen before."""
        return wall_ns - tree.newest_ns > self._patience.quiet_s * 1e9

    def restless(self, now: float) -> bool:
        """Whether it has been unsettled for longer than anybody should have to wait."""
        return self._restless_since is not None and now - self._restless_since >= self._patience.longest_s

    def restless_at(self) -> float | None:
        """When it will be `restless`; None while it is settled."""
        return None if self._restless_since is None else self._restless_since + self._patience.longest_s

    def settled(self) -> None:
        """It has come to rest as it was last seen."""
        self._restless_since = None

    def taken(self, now: float) -> None:
        """Its present files are a version to run."""
        self._taken.append(now)
