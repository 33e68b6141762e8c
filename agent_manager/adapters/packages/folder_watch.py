"""Noticing changes in folders through the kernel, with an interval for what it does not tell.

Each folder is watched on its own, not recursively: a package with a link to a large tree would use up the kernel's
watches for everybody. While nothing changes, next to nothing is done.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from inotify_simple import INotify, flags

DEBOUNCE_S = 0.1
"""Changes that come within this time of each other are one; what is written to all the time costs no more either."""
LOOK_S = 5.0
"""How often it is checked that the root is still the one that is watched: a link to it may lead elsewhere."""
RETURN_S = 0.25
"""How often it is looked for a root that is not there."""

_MASK = (
    # Not MODIFY: what counts is the finished file, and an agent that writes a log would wake us with each line.
    flags.CLOSE_WRITE
    | flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.ATTRIB
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
    | flags.EXCL_UNLINK
)

_LIMITS = frozenset({errno.ENOSPC, errno.ENOMEM})

log = logging.getLogger(__name__)

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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._complained = False

    def wake(self) -> None:
        """Let `changes` yield soon. May be called from any thread."""
        loop = self._loop
        if loop is None:
            self._changed.set()
        else:
            # A loop that has ended meanwhile waits for nothing.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._changed.set)

    async def changes(self) -> AsyncGenerator[None]:
        """Yields whenever something may have changed, every `interval_s` at least, and soon after the watch stands.

        The root may be missing, appear, vanish and be replaced. Where the kernel gives no watch (its limits are
        reached) only the interval is left; that is logged once.
        """
        self._loop = asyncio.get_running_loop()
        watches: Watches | None = None
        try:
            while True:
                root = await asyncio.to_thread(_identity, self._root)
                watches = watches or self._opened()
                is_new = watches is not None and await asyncio.to_thread(watches.set, self._directories())
                if watches is not None:
                    self._tell(watches.refusal)
                # What happened before a watch stood is seen by nobody, so a new one is a change.
                if not is_new:
                    await self._wait(root)
                self._changed.clear()
                yield
        finally:
            self._loop = None
            if watches is not None:
                watches.close()

    def _opened(self) -> Watches | None:
        try:
            return Watches(counts=self._counts, changed=self._changed.set)
        except OSError as error:
            self._tell(error)
            return None

    async def _wait(self, root: Identity | None) -> None:
        until, look_at = time.monotonic() + self._interval_s, self._look_at()
        if look_at is not None:
            until = min(until, look_at)
        while (left_s := until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, RETURN_S if root is None else LOOK_S)):
                    await self._changed.wait()
                    return
            # Not in the event loop: a root on a network that hangs must not hold up everything else.
            if await asyncio.to_thread(_identity, self._root) != root:
                return

    def _tell(self, refusal: OSError | None) -> None:
        if refusal is not None and not self._complained:
            fields = {"root": str(self._root), "error": str(refusal), "interval_s": self._interval_s}
            log.warning("packages_not_watched", extra=fields)
        self._complained = refusal is not None


class Watches:
    """Watches of the kernel (inotify(7)), read by the running event loop until `close`."""

    def __init__(self, *, counts: Callable[[Path], bool], changed: Callable[[], None]) -> None:
        """`changed` is called when a path that `counts` has changed. Raises OSError where the kernel gives none."""
        self._counts = counts
        self._changed = changed
        self._kernel = INotify(nonblocking=True)
        self._paths: Mapping[int, frozenset[Path]] = {}
        self._loop = asyncio.get_running_loop()
        self._collecting: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._kernel.fileno(), self._readable)
        self.refusal: OSError | None = None
        """The limit of the kernel that kept a folder from being watched the last time."""

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._kernel.fileno())
        if self._collecting is not None:
            self._collecting.cancel()
        self._kernel.close()

    def set(self, directories: frozenset[Path]) -> bool:
        """Watch exactly these; whether there is one among them that was not watched before. Does disk I/O.

        The kernel watches a folder, not a path: one that another has taken the place of was not watched before.
        """
        self.refusal = None
        paths: dict[int, set[Path]] = {}
        # The root comes first: the kernel may have too few for all.
        for path in sorted(directories):
            if (watch := self._watch(path)) is not None:
                paths.setdefault(watch, set()).add(path)
        before, self._paths = self._paths, {watch: frozenset(of_one) for watch, of_one in paths.items()}
        for watch in before.keys() - paths.keys():
            # The kernel has removed those of folders that are gone.
            with suppress(OSError):
                self._kernel.rm_watch(watch)
        return any(not of_one <= before.get(watch, frozenset()) for watch, of_one in self._paths.items())

    def _watch(self, path: Path) -> int | None:
        try:
            return int(self._kernel.add_watch(path, _MASK))
        except (OSError, ValueError) as error:
            # Of one that is gone, no folder, not readable or no path at all a scan tells.
            if isinstance(error, OSError) and error.errno in _LIMITS:
                self.refusal = error
            return None

    def _readable(self) -> None:
        self._loop.remove_reader(self._kernel.fileno())
        self._collecting = self._loop.call_later(DEBOUNCE_S, self._collect)

    def _collect(self) -> None:
        self._collecting = None
        self._loop.add_reader(self._kernel.fileno(), self._readable)
        if any(self._counts(path) for path in self._named()):
            self._changed()

    def _named(self) -> Iterator[Path]:
        """What has changed; of a watch that is no longer wanted, nothing."""
        for event in self._kernel.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                yield from (path for paths in self._paths.values() for path in paths)
            for path in self._paths.get(event.wd, ()):
                yield path / event.name if event.name else path


def _identity(folder: Path) -> Identity | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
