"""Package folders as a scan finds them on disk."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from agent_manager.adapters.packages import watched_folder
from agent_manager.adapters.packages.folder_source import FolderPackageSource
from agent_manager.adapters.packages.manifest_file import MAX_BYTES, Reading, read_manifest
from agent_manager.adapters.packages.package_folder import MAX_SPEC_BYTES
from agent_manager.adapters.packages.settling import Patience
from agent_manager.domain.agents import ManifestFault
from agent_manager.domain.errors import UnavailableError
from agent_manager.ports.packages import FoundPackage
from tests.harness.waiting import eventually

AT_ONCE = Patience(quiet_s=0.0)

VALID = "version: 1.0.0\nentrypoint: main.py\n"


def write_package(root: Path, name: str, manifest: str = VALID) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "agent.yaml").write_text(manifest, encoding="utf-8")
    return folder


async def only_package(root: Path) -> FoundPackage:
    (found,) = await FolderPackageSource(root, patience=AT_ONCE).scan()
    return found


async def only_fault(root: Path) -> ManifestFault:
    found = await only_package(root)
    assert found.spec is None
    (fault,) = found.faults
    return fault


async def test_a_missing_root_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="is gone; bring it back"):
        await FolderPackageSource(tmp_path / "nowhere", patience=AT_ONCE).scan()


async def test_a_root_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be listed: Not a directory"):
        await FolderPackageSource(tmp_path / "file", patience=AT_ONCE).scan()


async def test_a_root_that_goes_while_it_has_packages_is_not_an_empty_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder = write_package(root, "it")
    source = FolderPackageSource(root, patience=AT_ONCE)
    assert len(await source.scan()) == 1
    root.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(UnavailableError, match=f"{root} is gone; bring it back"):
            await source.scan()
    (tmp_path / "away").rename(root)
    assert len(await source.scan()) == 1
    shutil.rmtree(folder)
    assert await source.scan() == ()


async def test_a_link_that_leads_nowhere_hides_no_package(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_package(root, "it")
    (root / "loop").symlink_to("loop")
    assert (await only_package(root)).name == "it"


async def test_packages_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("zeta", "alpha", "mid-1"):
        write_package(tmp_path, name)
    found = await FolderPackageSource(tmp_path, patience=AT_ONCE).scan()
    assert [package.name for package in found] == ["alpha", "mid-1", "zeta"]
    assert [package.path for package in found] == [str(tmp_path / package.name) for package in found]
    assert all(package.spec is not None and package.faults == () for package in found)


@pytest.mark.parametrize("name", ["__pycache__", "_template", "test", ".hidden"])
async def test_folders_that_are_no_packages_are_skipped(tmp_path: Path, name: str) -> None:
    write_package(tmp_path, name, "nonsense")
    (tmp_path / "README.md").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert await FolderPackageSource(tmp_path, patience=AT_ONCE).scan() == ()


async def test_a_folder_without_manifest_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "half-copied").mkdir()
    assert await FolderPackageSource(tmp_path, patience=AT_ONCE).scan() == ()


@pytest.mark.parametrize("name", ["agent.yml", "Agent.yaml"])
async def test_a_manifest_of_nearly_the_right_name_is_a_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / name).write_text(VALID, encoding="utf-8")
    fault = await only_fault(tmp_path)
    assert fault.file == f"near/{name}"
    assert fault.expected == "agent.yaml"


@pytest.mark.parametrize("name", ["My Agent", "UPPER", "a" * 57, "manager", "package", "-dash", "ünï"])
async def test_a_folder_whose_name_gives_no_agent_id_is_a_fault(tmp_path: Path, name: str) -> None:
    write_package(tmp_path, name)
    fault = await only_fault(tmp_path)
    assert fault.file == f"{name}/agent.yaml"
    assert name in (fault.value or "")
    assert "rename the folder" in fault.message


async def test_a_folder_whose_name_is_no_text_is_a_fault_that_can_be_stored(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad\xff")
    write_package(tmp_path, name)
    found = await only_package(tmp_path)
    assert found.spec is None
    assert repr(found).encode()


async def test_two_folders_with_one_agent_id_are_both_found_as_they_are(tmp_path: Path) -> None:
    write_package(tmp_path, "a-b")
    write_package(tmp_path, "a_b", VALID + "replicas: x\n")
    first, second = await FolderPackageSource(tmp_path, patience=AT_ONCE).scan()
    assert first.spec is not None
    assert [fault.key for fault in second.faults] == ["replicas"]


async def test_a_manifest_too_large_to_be_started_is_a_fault_naming_the_largest_key(tmp_path: Path) -> None:
    folder = write_package(tmp_path, "it", VALID + "env: {A: b}\nconfig:\n  text: " + "x" * MAX_SPEC_BYTES + "\n")
    fault = await only_fault(tmp_path)
    assert (fault.file, fault.line, fault.key) == ("it/agent.yaml", 4, "config")
    assert (
        f"the largest key is config with {MAX_SPEC_BYTES + len(json.dumps({'text': ''}, separators=(',', ':')))}"
        in fault.message
    )
    assert fault.expected == f"a manifest of at most {MAX_SPEC_BYTES} bytes as JSON"
    (folder / "agent.yaml").write_text(VALID + "config:\n  text: " + "é" * (MAX_SPEC_BYTES // 6), encoding="utf-8")
    assert (await only_fault(tmp_path)).key == "config"
    (folder / "agent.yaml").write_text(VALID + "config:\n  text: " + "x" * (MAX_SPEC_BYTES - 5_000), encoding="utf-8")
    assert (await only_package(tmp_path)).spec is not None


@pytest.mark.parametrize(
    ("entrypoint", "expected"),
    [
        ("missing.py", "an existing file"),
        ("/etc/hostname.py", "relative to the package's folder"),
        ("main.sh", "a Python file"),
        ("../outside.py", "inside the package's folder"),
        ("link.py", "inside the package's folder"),
        ("folder.py", "an existing file"),
        ("x" * 300 + ".py", "an existing file"),
    ],
)
async def test_an_entrypoint_that_cannot_be_run_is_a_fault(tmp_path: Path, entrypoint: str, expected: str) -> None:
    root = tmp_path / "root"
    folder = write_package(root, "it", f"version: 1.0.0\n\nentrypoint: {entrypoint}\n")
    (root / "outside.py").touch()
    if entrypoint == "link.py":
        (folder / entrypoint).symlink_to(root / "outside.py")
    (folder / "folder.py").mkdir()
    fault = next(fault for fault in (await only_package(root)).faults if fault.key is not None)
    assert (fault.line, fault.key) == (3, "entrypoint")
    assert expected in (fault.expected or "")


async def test_an_entrypoint_of_a_linked_package_folder_is_inside(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "elsewhere", "real")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(folder)
    found = await only_package(tmp_path / "root")
    assert found.spec is not None
    assert found.spec.directory == str(tmp_path / "root" / "linked")


@pytest.mark.parametrize(
    ("command", "key", "expected"),
    [
        ("[]", "command", "begins with a program"),
        ("['']", "command", "begins with a program"),
        ("[./missing]", "command[0]", "an existing file"),
        ("[./main.py]", "command[0]", "chmod +x"),
        ("[bin/run]", "command[0]", "begins with ./"),
    ],
)
async def test_a_command_that_cannot_be_run_is_a_fault(tmp_path: Path, command: str, key: str, expected: str) -> None:
    write_package(tmp_path, "it", f"version: 1.0.0\ncommand: {command}\n")
    fault = await only_fault(tmp_path)
    assert (fault.line, fault.key) == (2, key)
    assert expected in (fault.expected or "")


async def test_a_missing_working_directory_is_a_fault(tmp_path: Path) -> None:
    write_package(tmp_path, "it", VALID + "working_directory: data\n")
    fault = await only_fault(tmp_path)
    assert (fault.line, fault.key, fault.value) == (3, "working_directory", '"data"')


async def test_missing_files_are_reported_together_with_wrong_values(tmp_path: Path) -> None:
    write_package(tmp_path, "it", "version: 1.0.0\nentrypoint: gone.py\nreplicas: x\nworking_directory: gone\n")
    found = await only_package(tmp_path)
    assert [(fault.line, fault.key) for fault in found.faults] == [
        (2, "entrypoint"),
        (3, "replicas"),
        (4, "working_directory"),
    ]


async def test_manifests_that_are_no_plain_files_are_faults_and_hold_nobody_up(tmp_path: Path) -> None:
    for name in ("folder", "pipe", "device", "loop", "gone", "large"):
        write_package(tmp_path, name)
        (tmp_path / name / "agent.yaml").unlink()
    (tmp_path / "folder" / "agent.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe" / "agent.yaml")
    (tmp_path / "device" / "agent.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop" / "agent.yaml").symlink_to("agent.yaml")
    (tmp_path / "gone" / "agent.yaml").symlink_to("nowhere")
    (tmp_path / "large" / "agent.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    write_package(tmp_path, "valid")
    found = {package.name: package for package in await FolderPackageSource(tmp_path, patience=AT_ONCE).scan()}
    said = {name: package.faults[0].message for name, package in found.items() if package.faults}
    assert "regular file" in said["folder"]
    assert "regular file" in said["pipe"]
    assert "regular file" in said["device"]
    assert "cannot be read" in said["loop"]
    assert "cannot be read" in said["gone"]
    assert "larger than" in said["large"]
    assert found["valid"].spec is not None


async def test_an_unchanged_manifest_is_read_once_it_has_settled_and_its_files_are_checked_ever_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path, "it")
    reads: list[Path] = []

    def counted(path: Path) -> Reading:
        reads.append(path)
        return read_manifest(path)

    monkeypatch.setattr(watched_folder, "read_manifest", counted)
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)

    async def not_read_again() -> bool:
        before = len(reads)
        (found,) = await source.scan()
        assert found.spec is not None
        return len(reads) == before

    await eventually(not_read_again)
    (folder / "main.py").unlink()
    (found,) = await source.scan()
    assert [fault.key for fault in found.faults] == ["entrypoint"]
    assert await _read_anew(source, reads, folder, VALID.replace("1.0.0", "2.0.0"))


async def _read_anew(source: FolderPackageSource, reads: list[Path], folder: Path, manifest: str) -> bool:
    before = len(reads)
    (folder / "agent.yaml").write_text(manifest, encoding="utf-8")
    await source.scan()
    return len(reads) == before + 1


async def test_a_manifest_rewritten_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    folder = write_package(tmp_path, "it")
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)
    for number in range(50):
        (folder / "agent.yaml").write_text(VALID.replace("1.0.0", f"1.0.{number % 10}"), encoding="utf-8")
        (found,) = await source.scan()
        assert found.spec is not None
        assert found.spec.version == f"1.0.{number % 10}"


async def test_scans_go_on_while_folders_come_and_go(tmp_path: Path) -> None:
    write_package(tmp_path, "steady")
    source = FolderPackageSource(tmp_path, patience=AT_ONCE)
    for number in range(20):
        folder = write_package(tmp_path, f"guest-{number}")
        assert len(await source.scan()) == 2
        shutil.rmtree(folder)
        (found,) = await source.scan()
        assert found.name == "steady"
