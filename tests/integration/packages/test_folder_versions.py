"""Which files make the version of a package folder, and when it is taken."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from agent_manager.adapters.packages import folder_digest, folder_source, folder_tree, manifest_file
from agent_manager.adapters.packages.examination import examine
from agent_manager.adapters.packages.folder_digest import Digest, Known, digest_of
from agent_manager.adapters.packages.folder_source import FolderPackageSource
from agent_manager.adapters.packages.folder_tree import Entry
from agent_manager.adapters.packages.ignoring import IgnoreRules
from agent_manager.adapters.packages.settling import Patience
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.packages import FoundPackage, Stage
from tests.harness.waiting import eventually, wait_until

AT_ONCE = Patience(quiet_s=0.0)
VALID = "version: 1.0.0\nentrypoint: main.py\n"


def write_package(root: Path, name: str = "it", manifest: str = VALID) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("print()\n", encoding="utf-8")
    (folder / "agent.yaml").write_text(manifest, encoding="utf-8")
    return folder


async def found_in(root: Path) -> FoundPackage:
    (found,) = await FolderPackageSource(root, patience=AT_ONCE).scan()
    return found


async def digest_in(root: Path) -> str:
    found = await found_in(root)
    assert found.faults == ()
    assert found.spec is not None
    assert found.digest == found.spec.digest
    assert found.digest is not None
    return found.digest


def rename(folder: Path) -> None:
    (folder / "lib.py").rename(folder / "library.py")


def link_elsewhere(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("agent.yaml")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "lib.py").write_text("x = 2\n", encoding="utf-8"),
        lambda folder: (folder / "lib.py").chmod(0o755),
        lambda folder: (folder / "lib.py").unlink(),
        lambda folder: (folder / "sub" / "new.txt").touch(),
        lambda folder: (folder / "agent.yaml").write_text(VALID + "replicas: 2\n", encoding="utf-8"),
        rename,
        link_elsewhere,
    ],
)
async def test_names_modes_and_contents_make_the_version(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = write_package(tmp_path)
    (folder / "lib.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "link").symlink_to("lib.py")
    (folder / "sub").mkdir()
    before = await digest_in(tmp_path)
    assert len(before) == 64
    change(folder)
    assert await digest_in(tmp_path) != before


async def test_the_version_is_the_same_wherever_and_whenever_the_files_are_put(tmp_path: Path) -> None:
    for place in ("here", "there"):
        folder = write_package(tmp_path / place)
        (folder / "lib.py").touch(mode=0o644 if place == "here" else 0o600)
        (folder / "empty").mkdir()
        os.utime(folder / "lib.py", (0, 0))
    assert await digest_in(tmp_path / "here") == await digest_in(tmp_path / "there")


async def test_what_an_agent_writes_and_tools_leave_is_no_change(tmp_path: Path) -> None:
    folder = write_package(tmp_path, manifest=VALID + "ignore: [state.json, /out/, '!keep.log']\n")
    before = await digest_in(tmp_path)
    for ignored in (
        "__pycache__/main.cpython-311.pyc",
        "data.db",
        "data.db-wal",
        "x.sqlite3",
        ".git/HEAD",
        ".venv/x.py",
    ):
        (folder / ignored).parent.mkdir(exist_ok=True)
        (folder / ignored).write_text("x", encoding="utf-8")
    for ignored in (
        "out/a.csv",
        "deep/state.json",
        "agent.log",
        "agent.log.1",
        "main.py~",
        ".main.py.swp",
        "deep/core",
        "core.123",
    ):
        (folder / ignored).parent.mkdir(exist_ok=True)
        (folder / ignored).write_text("x", encoding="utf-8")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        assert await digest_in(tmp_path) == before
    for counts in ("keep.log", "core/module.py", "core.2/module.py"):
        (folder / counts).parent.mkdir(exist_ok=True)
        (folder / counts).touch()
        earlier, before = before, await digest_in(tmp_path)
        assert before != earlier
    (folder / "core/__pycache__").mkdir()
    (folder / "core/__pycache__/cached").touch()
    assert await digest_in(tmp_path) == before


async def test_what_is_run_counts_whatever_is_ignored(tmp_path: Path) -> None:
    folder = write_package(tmp_path, manifest=VALID + "ignore: ['*']\n")
    before = await digest_in(tmp_path)
    (folder / "other.py").touch()
    assert await digest_in(tmp_path) == before
    (folder / "main.py").write_text("print(1)\n", encoding="utf-8")
    assert await digest_in(tmp_path) != before


async def test_a_pattern_that_is_none_is_a_fault(tmp_path: Path) -> None:
    write_package(tmp_path, manifest=VALID + "ignore: [fine, 3, '!']\n")
    found = await found_in(tmp_path)
    assert [(fault.line, fault.key) for fault in found.faults] == [(3, "ignore[1]"), (3, "ignore[2]")]


async def test_a_link_out_of_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "root")
    (tmp_path / "secret").touch()
    (folder / "sub").mkdir()
    (folder / "sub" / "leak").symlink_to(tmp_path / "secret")
    (folder / "sub" / "inside").symlink_to("../main.py")
    (folder / "loop").symlink_to("loop")
    found = await found_in(tmp_path / "root")
    assert found.spec is None
    (fault,) = found.faults
    assert fault.file == "it"
    assert f"sub/leak is a symbolic link out of the folder, to {tmp_path / 'secret'}" in fault.message
    (folder / "agent.yaml").write_text(VALID + "ignore: [leak]\n", encoding="utf-8")
    assert (await found_in(tmp_path / "root")).faults == ()


async def test_a_file_that_cannot_be_read_is_said_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_package(tmp_path)
    (folder / "private.txt").touch()
    opened = os.open

    def refusing(path: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        # Root may read everything, so that permissions alone refuse nothing here.
        if Path(path).name == "private.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)
    found = await found_in(tmp_path)
    assert found.spec is None
    assert found.digest is None
    assert [str(fault) for fault in found.faults] == [
        "it: private.txt cannot be read: Permission denied; let the manager's user read it, or name it under `ignore`"
    ]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize(("module", "reader"), [(manifest_file, "_bytes_of"), (folder_digest, "_content")])
async def test_what_could_not_be_read_for_a_moment_is_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, reader: str, number: int
) -> None:
    monkeypatch.setattr(manifest_file, "_SETTLED_NS", -1)
    write_package(tmp_path)
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)

    def failing(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(module, reader, failing)
        (found,) = await source.scan()
        assert found.spec is None
    (found,) = await source.scan()
    assert (found.faults, found.stage) == ((), Stage.FOUND)
    assert found.spec is not None


async def test_a_folder_that_nobody_may_look_into_is_a_fault_and_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path)
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)
    (found,) = await source.scan()
    assert found.spec is not None
    # As one that may not be searched looks; root may search every folder.
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder)
    for found in (*await source.scan(), examine(folder)):
        assert [str(fault) for fault in found.faults] == ["it: cannot be read: Permission denied"]


async def test_a_manifest_that_is_a_link_changes_with_what_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_file, "_SETTLED_NS", 10**18)
    manifest = "version: {}\ncommand: [sleep, '100']\nignore: [conf/]\n"
    folder = write_package(tmp_path)
    (folder / "conf").mkdir()
    (folder / "conf" / "a.yaml").write_text(manifest.format("1.0.0"), encoding="utf-8")
    (folder / "agent.yaml").unlink()
    (folder / "agent.yaml").symlink_to("conf/a.yaml")
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)
    versions = []
    for version in ("1.0.0", "2.0.0"):
        (folder / "conf" / "a.yaml").write_text(manifest.format(version), encoding="utf-8")
        (found,) = await source.scan()
        assert found.spec is not None
        versions.append(found.spec.version)
    assert versions == ["1.0.0", "2.0.0"]


async def test_too_many_files_are_a_fault_that_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path)
    monkeypatch.setattr(folder_tree, "MAX_FILES", 3)
    (folder / "third").touch()
    assert (await found_in(tmp_path)).faults == ()
    (folder / "fourth").touch()
    (fault,) = (await found_in(tmp_path)).faults
    assert "more than 3 files" in fault.message
    assert "ignore" in fault.message


async def test_only_files_that_changed_are_read_again_and_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path)
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)
    await source.scan()
    read: list[str] = []
    content = folder_digest._content

    def counted(place: Path, entry: Entry) -> bytes:
        read.append(entry.path)
        return content(place, entry)

    monkeypatch.setattr(folder_digest, "_content", counted)
    (folder / "main.py").write_text("print(2)\n", encoding="utf-8")
    (folder / "new.py").touch()
    (found,) = await source.scan()
    assert sorted(read) == ["main.py", "new.py"]
    assert found.changed == ("main.py", "new.py")
    (folder / "main.py").touch()
    (again,) = await source.scan()
    assert again.digest == found.digest


# ---------------------------------------------------------------- settling


async def test_a_folder_that_is_being_written_is_not_taken_before_it_has_come_to_rest(tmp_path: Path) -> None:
    source = FolderPackageSource(tmp_path, patience=Patience(quiet_s=0.5))
    folder = write_package(tmp_path)
    (found,) = await source.scan()
    assert (found.stage, found.spec) == (Stage.SETTLING, None)
    taken = await eventually(lambda: taken_version(source))
    (folder / "main.py").write_text("print(2)\n", encoding="utf-8")
    (found,) = await source.scan()
    assert found.stage is Stage.SETTLING
    assert (await eventually(lambda: taken_version(source))).digest != taken.digest


async def taken_version(source: FolderPackageSource) -> FoundPackage | None:
    (found,) = await source.scan()
    return found if found.stage is Stage.FOUND else None


async def test_a_folder_that_was_written_long_ago_is_taken_at_once(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "elsewhere")
    long_ago = time.time() + 1.0
    wait_until(lambda: time.time() > long_ago)
    (tmp_path / "root").mkdir()
    folder.rename(tmp_path / "root" / "it")
    (found,) = await FolderPackageSource(tmp_path / "root", patience=Patience(quiet_s=0.5)).scan()
    assert found.stage is Stage.FOUND


async def test_a_folder_that_is_replaced_is_not_gone_in_between(tmp_path: Path) -> None:
    folder = write_package(tmp_path)
    source = FolderPackageSource(tmp_path, patience=Patience(quiet_s=0.3))
    await eventually(lambda: taken_version(source))
    folder.rename(tmp_path / ".away")
    (found,) = await source.scan()
    assert (found.name, found.stage) == ("it", Stage.SETTLING)

    async def is_gone() -> bool:
        return await source.scan() == ()

    await eventually(is_gone)


async def test_a_new_folder_that_never_rests_is_taken_and_a_known_one_is_told_about(tmp_path: Path) -> None:
    folder = write_package(tmp_path)
    source = FolderPackageSource(tmp_path, patience=Patience(quiet_s=30.0, longest_s=0.2))
    restless = await eventually(lambda: taken_version(source))
    assert restless.spec is not None

    async def told() -> FoundPackage | None:
        (folder / "noise.txt").write_text(str(time.monotonic_ns()), encoding="utf-8")
        (found,) = await source.scan()
        return found if found.faults else None

    found = await eventually(told)
    assert found.spec == restless.spec
    assert "noise.txt of the folder never came to rest" in found.faults[0].message
    assert "ignore" in found.faults[0].message


async def test_versions_that_follow_each_other_quickly_have_to_rest_longer_and_longer(tmp_path: Path) -> None:
    folder = write_package(tmp_path)
    source = FolderPackageSource(tmp_path, patience=Patience(quiet_s=0.02, longest_s=60.0))
    await eventually(lambda: taken_version(source))
    waits = []
    for number in range(9):
        (folder / "state.txt").write_text(str(number), encoding="utf-8")
        await source.scan()
        watched = source._known["it"]
        waits.append((watched.due_at or 0.0) - time.monotonic())
        await eventually(lambda: taken_version(source))
    assert waits[-1] > 8 * max(waits[:3])


async def test_a_large_folder_is_read_beside_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_source, "INLINE_BYTES", 1_000)
    large = write_package(tmp_path, "large")
    (large / "weights.bin").write_bytes(b"x" * 10_000)
    write_package(tmp_path, "small")
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)
    stages = {found.name: found.stage for found in await source.scan()}
    assert stages == {"large": Stage.SETTLING, "small": Stage.FOUND}

    async def all_taken() -> bool:
        return all(found.stage is Stage.FOUND for found in await source.scan())

    await eventually(all_taken)
    found = {package.name: package for package in await source.scan()}
    digest, _ = whole(large)
    assert found["large"].digest == digest.value


def whole(folder: Path) -> tuple[Digest, Known]:
    tree = folder_tree.read_tree(folder, IgnoreRules())
    return digest_of(folder, tree.entries, {})


# ---------------------------------------------------------------- the root


async def test_an_empty_root_on_another_file_system_is_not_an_empty_one(tmp_path: Path) -> None:
    device = tmp_path / "run" / "packages-device"
    folder = write_package(tmp_path / "root")
    await FolderPackageSource(tmp_path / "root", patience=AT_ONCE, device_file=device).scan()
    assert device.read_text(encoding="ascii") == str(folder.stat().st_dev)
    folder.rename(tmp_path / "away")
    assert await FolderPackageSource(tmp_path / "root", patience=AT_ONCE, device_file=device).scan() == ()
    device.write_text("1", encoding="ascii")
    with pytest.raises(UnavailableError, match="seems not to be mounted"):
        await FolderPackageSource(tmp_path / "root", patience=AT_ONCE, device_file=device).scan()
