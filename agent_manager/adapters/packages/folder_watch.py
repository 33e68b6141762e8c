"""Noticing changes in folders through the kernel, with an interval for what it does not tell.

Each folder is watched on its own, not recursively: a recursive watch follows symbolic links, so one package with a link
to a large tree would hold up the event loop for seconds and use up the kernel's watches for everybody.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

from watchfiles import Change, awatch

DEBOUNCE_MS = 150
"""Changes that come within this time of each other are one."""

LOOK_S = 0.5
"""How often it is checked that the watched folders are still the right ones, and whether a folder has settled. Each
look costs a turn of two threads."""
RETURN_S = 0.25
"""How often it is looked for a root that is not there, and pause after a watch that has ended by itself."""

_STEP_MS = 50

log = logging.getLogger(__name__)

FileChange = tuple[Change, str]
Identity = tuple[int, int]


class FolderWatch:
    """Watches `root` and whatever `directories` gives at the moment (absolute paths, `root` among them)."""

    def __init__(
        self,
        root: Path,
        *,
        directories: Callable[[], frozenset[Path]],
        counts: Callable[[Path], bool],
        look_at: Callable[[], float | None],
        interval_s: float,
    ) -> None:
        """`counts` tells whether a change of a path matters; `look_at` when (monotonic) to yield anyway."""
        self._root = root
        self._directories = directories
        self._counts = counts
        self._look_at = look_at
        self._interval_s = interval_s
        self._complained = False

    async def changes(self) -> AsyncIterator[None]:
        """Yields whenever something may have changed, every `interval_s` at least, and soon after the watch stands.

        The root may be missing, appear, vanish and be replaced. Where the kernel gives no watch (its limits are
        reached) only the interval is left; that is logged once.
        """
        due = time.monotonic() + self._interval_s
        async with aclosing(self._looks()) as looks:
            async for changed in looks:
                look_at = self._look_at()
                if changed or time.monotonic() >= (due if look_at is None else min(due, look_at)):
                    due = time.monotonic() + self._interval_s
                    yield

    async def _looks(self) -> AsyncGenerator[bool]:
        """Every `LOOK_S` at least, and at once on a change: whether anything may have changed since the last look."""
        was_there = False
        while True:
            identity = _identity(self._root)
            if identity is not None:
                was_there = True
                async with aclosing(self._watched(identity)) as looks:
                    async for changed in looks:
                        yield changed
            else:
                yield was_there
                was_there = False
                await asyncio.sleep(RETURN_S)

    async def _watched(self, identity: Identity) -> AsyncGenerator[bool]:
        """The looks of one watch, until it no longer watches the right folders."""
        directories = self._directories()
        # What happened before the watch stood is seen by nobody: the first look is always a change.
        changed = True
        try:
            async with aclosing(_batches(directories)) as batches:
                async for batch in batches:
                    self._complained = False
                    yield changed or any(self._counts(Path(path)) for _, path in batch)
                    changed = False
                    if (
                        _identity(self._root) != identity
                        or self._directories() != directories
                        or _lost(batch, directories)
                    ):
                        return
        except (OSError, RuntimeError) as error:
            stood = not changed
            if stood or isinstance(error, FileNotFoundError):
                # Something whose name is not UTF-8 has changed, which ends a watch; or a folder went away before it
                # could be watched, and a scan finds out which are left.
                yield True
                await asyncio.sleep(RETURN_S)
            else:
                self._complain(error)
                await asyncio.sleep(self._interval_s)
                yield True

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            fields = {"root": str(self._root), "error": str(error), "interval_s": self._interval_s}
            log.warning("packages_not_watched", extra=fields)
        self._complained = True


async def _batches(directories: frozenset[Path]) -> AsyncGenerator[set[FileChange]]:
    """Raises OSError, and RuntimeError for what watchfiles finds wrong by itself."""
    try:
        async with aclosing(_watch(directories)) as batches:
            async for batch in batches:
                yield batch
    except ExceptionGroup as group:
        # An implementation detail of watchfiles: there is one task in the group.
        raise group.exceptions[0] from group


def _watch(directories: frozenset[Path]) -> AsyncGenerator[set[FileChange]]:
    # Everything is passed on, also what does not matter: a filter here would swallow the timeouts of a busy folder.
    return awatch(
        *sorted(directories),
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=int(LOOK_S * 1000),
        yield_on_timeout=True,
        debug=False,
        force_polling=False,
        recursive=False,
        # True would also hide that the limit of watches is reached.
        ignore_permission_denied=False,
    )


def _identity(folder: Path) -> Identity | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _lost(batch: set[FileChange], directories: frozenset[Path]) -> bool:
    """Whether a watched folder came or went: the kernel watches the folder, not the path."""
    return any(change is not Change.modified and Path(path) in directories for change, path in batch)
