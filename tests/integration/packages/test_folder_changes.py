"""Changes to package folders, noticed through the kernel and seen by the scan that follows."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from inotify_simple import INotify

from agent_manager.adapters.packages import folder_watch
from agent_manager.adapters.packages.folder_source import FolderPackageSource
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.packages import FoundPackage
from tests.harness.waiting import eventually

VALID = "version: 1.0.0\nentrypoint: main.py\n"
NEVER_S = 3600.0


class Discovery:
    """Scans after every change, as the product does, and keeps what was found last."""

    def __init__(self, root: Path, interval_s: float) -> None:
        self._source = FolderPackageSource(root, interval_s=interval_s)
        self.found: tuple[FoundPackage, ...] = ()
        self.away = False
        self.scans = 0

    async def run(self) -> None:
        async for _ in self._source.changes():
            try:
                self.found, self.away = await self._source.scan(), False
            except UnavailableError:
                self.away = True
            self.scans += 1

    def names(self) -> list[str]:
        return [package.name for package in self.found]

    def version(self, name: str) -> str | None:
        spec = next((package.spec for package in self.found if package.name == name), None)
        return spec.version if spec is not None else None

    def fault_keys(self, name: str) -> list[str | None]:
        return [fault.key for package in self.found if package.name == name for fault in package.faults]

    async def quiet(self) -> None:
        """Return once the watch stands and what it found at first has been scanned."""
        await eventually(lambda: self.scans >= 1)


@asynccontextmanager
async def discovery(root: Path, interval_s: float = NEVER_S) -> AsyncIterator[Discovery]:
    discovering = Discovery(root, interval_s)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(discovering.run(), name="discovery")
        try:
            yield discovering
        finally:
            running.cancel()


def write_package(root: Path, name: str, manifest: str = VALID) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "agent.yaml").write_text(manifest, encoding="utf-8")
    return folder


async def test_a_package_is_dropped_in_broken_mended_and_removed(tmp_path: Path) -> None:
    async with discovery(tmp_path) as seen:
        await seen.quiet()
        assert seen.found == ()
        folder = write_package(tmp_path, "guest")
        await eventually(lambda: seen.version("guest") == "1.0.0")

        (folder / "agent.yaml").write_text(VALID + "replicas: many\n", encoding="utf-8")
        await eventually(lambda: seen.fault_keys("guest") == ["replicas"])

        (folder / "agent.yaml").write_text("version: 2.0.0\nentrypoint: main.py\n", encoding="utf-8")
        await eventually(lambda: seen.version("guest") == "2.0.0")

        (folder / "main.py").unlink()
        await eventually(lambda: seen.fault_keys("guest") == ["entrypoint"])
        (folder / "main.py").touch()
        await eventually(lambda: seen.version("guest") == "2.0.0")

        shutil.rmtree(folder)
        await eventually(lambda: seen.found == ())

        write_package(tmp_path, "guest", "version: 3.0.0\nentrypoint: main.py\n")
        await eventually(lambda: seen.version("guest") == "3.0.0")


async def test_a_folder_whose_name_is_not_utf_8_is_told_and_hides_no_other(tmp_path: Path) -> None:
    async with discovery(tmp_path) as seen:
        await seen.quiet()
        odd = write_package(tmp_path, os.fsdecode(b"caf\xe9"))
        write_package(tmp_path, "first")
        await eventually(lambda: seen.names() == ["caf\\udce9", "first"])
        assert seen.version("caf\\udce9") is None
        (odd / os.fsdecode(b"\xe9")).mkdir()
        write_package(tmp_path, "second")
        await eventually(lambda: seen.names() == ["caf\\udce9", "first", "second"])
        (tmp_path / "first" / "agent.yaml").write_text("version: 2.0.0\nentrypoint: main.py\n", encoding="utf-8")
        await eventually(lambda: seen.version("first") == "2.0.0")
        shutil.rmtree(odd)
        await eventually(lambda: seen.names() == ["first", "second"])


async def test_a_package_replaced_by_renaming_another_into_its_place_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_package(root, "it")
    async with discovery(root) as seen:
        await eventually(lambda: seen.version("it") == "1.0.0")
        staged = write_package(tmp_path, "staged", "version: 2.0.0\nentrypoint: main.py\n")
        (root / "it").rename(tmp_path / "old")
        staged.rename(root / "it")
        await eventually(lambda: seen.version("it") == "2.0.0")
        (root / "it" / "agent.yaml").write_text("version: 3.0.0\nentrypoint: main.py\n", encoding="utf-8")
        await eventually(lambda: seen.version("it") == "3.0.0")


async def test_an_editor_that_replaces_the_manifest_is_followed(tmp_path: Path) -> None:
    folder = write_package(tmp_path, "it")
    async with discovery(tmp_path) as seen:
        await eventually(lambda: seen.version("it") == "1.0.0")
        for number in range(2, 5):
            (folder / "agent.yaml.new").write_text(f"version: {number}.0.0\nentrypoint: main.py\n", encoding="utf-8")
            (folder / "agent.yaml.new").rename(folder / "agent.yaml")
            await eventually(lambda wanted=f"{number}.0.0": seen.version("it") == wanted)  # type: ignore[misc]


async def test_an_entrypoint_that_appears_deep_in_the_folder_is_noticed(tmp_path: Path) -> None:
    folder = write_package(tmp_path, "it", "version: 1.0.0\nentrypoint: src/app/main.py\n")
    async with discovery(tmp_path) as seen:
        await eventually(lambda: seen.fault_keys("it") == ["entrypoint"])
        (folder / "src").mkdir()
        (folder / "src" / "app").mkdir()
        (folder / "src" / "app" / "main.py").touch()
        await eventually(lambda: seen.version("it") == "1.0.0")


async def test_a_program_that_becomes_executable_is_noticed(tmp_path: Path) -> None:
    folder = write_package(tmp_path, "it", "version: 1.0.0\ncommand: [./bin/run]\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "run").touch(0o644)
    async with discovery(tmp_path) as seen:
        await eventually(lambda: seen.fault_keys("it") == ["command[0]"])
        (folder / "bin" / "run").chmod(0o755)
        await eventually(lambda: seen.version("it") == "1.0.0")


async def test_a_root_that_appears_later_vanishes_and_comes_back_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "later"
    async with discovery(root) as seen:
        write_package(root, "first")
        await eventually(lambda: seen.names() == ["first"])
        for _ in range(3):
            shutil.rmtree(root)
            write_package(root, "second")
            await eventually(lambda: seen.names() == ["second"])
            write_package(root, "third")
            await eventually(lambda: seen.names() == ["second", "third"])
        root.rename(tmp_path / "away")
        await eventually(lambda: seen.away)
        (tmp_path / "away").rename(root)
        await eventually(lambda: not seen.away)
        assert seen.names() == ["second", "third"]


async def test_what_does_not_concern_a_scan_causes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noticed: list[Path] = []
    counts = FolderPackageSource._counts

    def noting(source: FolderPackageSource, path: Path) -> bool:
        noticed.append(path)
        return counts(source, path)

    monkeypatch.setattr(FolderPackageSource, "_counts", noting)
    folder = write_package(tmp_path, "busy")
    (folder / "__pycache__").mkdir()
    async with discovery(tmp_path) as seen:
        await eventually(lambda: seen.version("busy") == "1.0.0")
        await eventually(lambda: seen.scans >= 2)
        before = seen.scans
        for number in range(10):
            (folder / f"main{number}.pyc").touch()
            (folder / "__pycache__" / f"{number}").touch()
            # Each of them is looked at by itself.
            looked_at = len(noticed)
            await eventually(lambda known=looked_at: len(noticed) > known)  # type: ignore[misc]
        assert seen.scans == before
        write_package(tmp_path, "after")
        await eventually(lambda: seen.version("after") == "1.0.0")


async def test_without_any_change_the_interval_yields(tmp_path: Path) -> None:
    async with discovery(tmp_path, interval_s=0.1) as seen:
        await eventually(lambda: seen.scans >= 5)


async def test_a_missing_root_is_looked_at_after_every_interval(tmp_path: Path) -> None:
    async with discovery(tmp_path / "nowhere", interval_s=0.1) as seen:
        await eventually(lambda: seen.scans >= 3)


@pytest.mark.parametrize(
    ("method", "failure"),
    [
        ("__init__", OSError(errno.EMFILE, "Too many open files")),
        ("add_watch", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
async def test_without_kernel_watches_the_interval_finds_changes_and_it_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str, failure: OSError
) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(INotify, method, refused)
    async with discovery(tmp_path, interval_s=0.05) as seen:
        await eventually(lambda: seen.scans >= 3)
        write_package(tmp_path, "found")
        await eventually(lambda: seen.names() == ["found"])
    complaints = [record for record in caplog.records if record.message == "packages_not_watched"]
    assert len(complaints) == 1


async def test_watching_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    write_package(tmp_path, "it")
    for _ in range(10):
        async with discovery(tmp_path) as seen:
            await seen.quiet()


async def test_a_root_that_is_a_link_is_followed_to_where_it_leads_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watch, "LOOK_S", 0.05)
    write_package(tmp_path / "first", "old")
    write_package(tmp_path / "second", "new")
    root = tmp_path / "current"
    root.symlink_to("first")
    async with discovery(root) as seen:
        await eventually(lambda: seen.names() == ["old"])
        (tmp_path / "next").symlink_to("second")
        (tmp_path / "next").rename(root)
        await eventually(lambda: seen.names() == ["new"])
        write_package(tmp_path / "second", "newer")
        await eventually(lambda: seen.names() == ["new", "newer"])


async def test_a_package_that_is_a_link_is_followed_to_where_it_leads_now(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in (1, 2):
        write_package(tmp_path, f"release-{number}", f"version: {number}.0.0\nentrypoint: main.py\n")
    (root / "it").symlink_to("../release-1")
    async with discovery(root) as seen:
        await eventually(lambda: seen.version("it") == "1.0.0")
        (root / "next").symlink_to("../release-2")
        (root / "next").rename(root / "it")
        await eventually(lambda: seen.version("it") == "2.0.0")
        (tmp_path / "release-2" / "agent.yaml").write_text("version: 3.0.0\nentrypoint: main.py\n", encoding="utf-8")
        await eventually(lambda: seen.version("it") == "3.0.0")


async def test_two_links_to_one_folder_are_two_packages_and_both_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shared = write_package(tmp_path, "shared")
    for name in ("one", "two"):
        (root / name).symlink_to("../shared")
    async with discovery(root) as seen:
        await eventually(lambda: seen.names() == ["one", "two"])
        (shared / "agent.yaml").write_text("version: 2.0.0\nentrypoint: main.py\n", encoding="utf-8")
        await eventually(lambda: [seen.version(name) for name in ("one", "two")] == ["2.0.0", "2.0.0"])
        (root / "one").unlink()
        await eventually(lambda: seen.names() == ["two"])
        (shared / "agent.yaml").write_text("version: 3.0.0\nentrypoint: main.py\n", encoding="utf-8")
        await eventually(lambda: seen.version("two") == "3.0.0")
