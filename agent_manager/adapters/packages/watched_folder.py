"""One package folder over time: what was read of it, whether it has settled, which version of it is in use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent_manager.adapters.packages.folder_digest import Digest, Known, changed_files, digest_of, unread_bytes
from agent_manager.adapters.packages.folder_tree import Entry, Tree, VanishedError, read_tree
from agent_manager.adapters.packages.ignoring import IgnoreRules
from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME, Reading, Signature, read_manifest, signature_of
from agent_manager.adapters.packages.manifest_paths import counting_rules, path_problems
from agent_manager.adapters.packages.package_folder import found_package
from agent_manager.adapters.packages.problems import as_faults
from agent_manager.adapters.packages.reading_queue import ReadingQueue
from agent_manager.adapters.packages.requirements import (
    PROJECT,
    REQUIREMENTS,
    UnusableRequirementsError,
    need_of,
)
from agent_manager.adapters.packages.settling import Patience, Settling
from agent_manager.documents.problems import Problem, printable
from agent_manager.domain.agents import ManifestFault
from agent_manager.ports.packages import EnvironmentNeed, FoundPackage, Stage

_ELSEWHERE = frozenset({"command", "working_directory"})
"""Keys that may name what is not among the files that count: it comes and goes without the folder changing."""

NAMED = 5
"""Changed files that are named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    """A version of the folder that was found: its files and what they are."""

    entries: tuple[Entry, ...]
    reading: Reading
    digest: Digest
    changed: tuple[str, ...]
    wanted: _Wanted
    elsewhere: tuple[Problem, ...]
    found: FoundPackage


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a version wants installed, or why that cannot be told."""

    need: EnvironmentNeed | None = None
    faults: tuple[ManifestFault, ...] = ()


@dataclass(kw_only=True)
class WatchedFolder:
    """Everything that is remembered of one folder between scans. Used by one scan at a time."""

    folder: Path
    patience: Patience
    queue: ReadingQueue
    inline_bytes: int
    """More than this is read beside the scan, so that no other package waits for it."""
    rules: IgnoreRules = field(default_factory=IgnoreRules)
    folders: tuple[Path, ...] = ()
    reading: Reading = field(default_factory=Reading)
    due_at: float | None = None
    """When it is to be looked at again although nothing was noticed (monotonic seconds)."""
    _signature: Signature | None = None
    _version: _Version | None = None
    _known: Known = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._settling = Settling(self.patience)

    def look(self) -> FoundPackage:
        """The package as it is now. The manifest is there."""
        now, self.due_at = time.monotonic(), None
        self._read()
        self.rules = counting_rules(self.reading.data)
        try:
            tree = read_tree(self.folder, self.rules)
        except VanishedError:
            self._settling.disturbed(now)
            return self._unsettled(None, now)
        self.folders = tree.folders
        self._settling.seen(tree, now)
        version = self._version
        # What could not be read once is read again: a disk or a network that fails for a moment changes no file.
        if version is not None and version.entries == tree.entries and version.digest.value is not None:
            self._settling.settled()
            if (self.reading, self._elsewhere()) != (version.reading, version.elsewhere):
                self._version = version = self._as_found(tree, version.digest, version.changed, version.wanted)
            return version.found
        fresh = version is None and self._settling.untouched(tree, time.time_ns())
        if not fresh and now < self._settling.quiet_at(now) and not (version is None and self._settling.restless(now)):
            return self._unsettled(tree, now)
        return self._taken(tree, now)

    def _read(self) -> None:
        manifest = self.folder / MANIFEST_NAME
        try:
            signature = signature_of(manifest)
        except OSError:
            signature = None
        if signature is None or signature != self._signature:
            self.reading = read_manifest(manifest)
        # Within a tick of the file system's clock two contents look the same.
        is_known = signature is not None and signature.settled and self.reading.is_lasting
        self._signature = signature if is_known else None

    def _unsettled(self, tree: Tree | None, now: float) -> FoundPackage:
        quiet_at, restless_at = self._settling.quiet_at(now), self._settling.restless_at()
        self.due_at = quiet_at if restless_at is None or self._settling.restless(now) else min(quiet_at, restless_at)
        version = self._version
        if version is None or tree is None or not self._settling.restless(now):
            return self._as_it_was()
        files = _listed(changed_entries(version.entries, tree.entries))
        message = (
            f"{files} of the folder never came to rest in {self.patience.longest_s:g} s: the version before goes on "
            "running; name files that are written while it runs under `ignore`"
        )
        fault = ManifestFault(file=printable(self.folder.name), message=printable(message), expected="a folder at rest")
        before = version.found
        return before if before.spec is None else replace(before, faults=(*before.faults, fault))

    def _taken(self, tree: Tree, now: float) -> FoundPackage:
        if unread_bytes(tree.entries, self._known) > self.inline_bytes:
            known = self.queue.contents(self.folder, tree.entries, self._known)
            if known is None:
                return self._as_it_was()
            self._known = known
        try:
            digest, self._known = digest_of(self.folder, tree.entries, self._known)
        except VanishedError:
            self._settling.disturbed(now)
            return self._unsettled(None, now)
        before = self._version
        changed = () if before is None else tuple(changed_files(before.digest.contents, digest.contents))
        if before is not None and before.digest.value != digest.value:
            self._settling.taken(now)
        self._settling.settled()
        self._version = self._as_found(tree, digest, changed, self._wanted(tree, digest))
        return self._version.found

    def _as_found(self, tree: Tree, digest: Digest, changed: tuple[str, ...], wanted: _Wanted) -> _Version:
        # Before the rest: what changes meanwhile is then found at the next look.
        elsewhere = self._elsewhere()
        faults = as_faults((*tree.problems, *digest.problems), self.folder.name, {})
        found = found_package(self.folder, self.reading, None if faults else digest.value, (*faults, *wanted.faults))
        needs = wanted.need if found.spec is not None else None
        return _Version(
            entries=tree.entries,
            reading=self.reading,
            digest=digest,
            changed=changed,
            wanted=wanted,
            elsewhere=elsewhere,
            found=replace(found, changed=tuple(printable(path) for path in changed), needs=needs),
        )

    def _elsewhere(self) -> tuple[Problem, ...]:
        """What is wrong with what is named, and may be mended or break without the folder changing."""
        data = self.reading.data
        return () if _ELSEWHERE.isdisjoint(data) else tuple(path_problems(data, self.folder))

    def _wanted(self, tree: Tree, digest: Digest) -> _Wanted:
        files = {entry.path for entry in tree.entries if entry.path in (REQUIREMENTS, PROJECT)}
        sdk = isinstance(self.reading.data.get("entrypoint"), str)
        try:
            return _Wanted(need=need_of(self.folder, files, digest=digest.value or "", sdk=sdk))
        except UnusableRequirementsError as error:
            return _Wanted(faults=as_faults((error.problem,), f"{self.folder.name}/{error.file}", {}))

    def _as_it_was(self) -> FoundPackage:
        return FoundPackage(
            name=printable(self.folder.name), path=printable(str(self.folder)), spec=None, stage=Stage.SETTLING
        )


def changed_entries(before: tuple[Entry, ...], after: tuple[Entry, ...]) -> list[str]:
    """Paths of what the file system shows to differ, ordered."""
    old: Mapping[str, Entry] = {entry.path: entry for entry in before}
    new: Mapping[str, Entry] = {entry.path: entry for entry in after}
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def _listed(paths: list[str]) -> str:
    shown = ", ".join(paths[:NAMED])
    return shown if len(paths) <= NAMED else f"{shown} and {len(paths) - NAMED} more"
