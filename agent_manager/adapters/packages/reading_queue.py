"""Reading large folders beside the scan, one after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent_manager.adapters.packages.folder_digest import Known, digest_of
from agent_manager.adapters.packages.folder_tree import Entry, VanishedError


@dataclass(frozen=True, slots=True)
class _Job:
    folder: Path
    entries: tuple[Entry, ...]
    known: Known


class ReadingQueue:
    """A thread that is there while there is something to read. It ends with the process, whatever it is reading."""

    def __init__(self, done: Callable[[], None]) -> None:
        """`done` is called, in that thread, whenever a folder has been read."""
        self._done = done
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._at_work = False
        self._asked: dict[Path, tuple[Entry, ...]] = {}
        self._read: dict[Path, Known] = {}

    def contents(self, folder: Path, entries: tuple[Entry, ...], known: Known) -> Known | None:
        """What could be read of these files; None until that is done."""
        with self._lock:
            if self._asked.get(folder) == entries:
                if folder not in self._read:
                    return None
                del self._asked[folder]
                return self._read.pop(folder)
            self._asked[folder] = entries
            self._read.pop(folder, None)
            self._waiting.append(_Job(folder, entries, known))
            if not self._at_work:
                self._at_work = True
                threading.Thread(target=self._work, name="package reading", daemon=True).start()
        return None

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._at_work = False
                    return
                job = self._waiting.popleft()
            try:
                _, known = digest_of(job.folder, job.entries, job.known)
            except VanishedError:
                # The next scan sees other files and asks anew.
                known = job.known
            with self._lock:
                if self._asked.get(job.folder) == job.entries:
                    self._read[job.folder] = known
            self._done()
