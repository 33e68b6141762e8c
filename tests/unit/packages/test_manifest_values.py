"""What a valid manifest becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_manager.adapters.codec import SPEC
from agent_manager.adapters.packages.manifest_file import read_manifest
from agent_manager.adapters.packages.package_folder import found_package
from agent_manager.domain.specification import (
    AgentSpec,
    Capability,
    HeartbeatPolicy,
    LogPolicy,
    OnInactive,
    Readiness,
    ReadinessMode,
    RestartMode,
    RestartPolicy,
    StopPolicy,
)


def spec_of(folder: Path, manifest: str) -> AgentSpec:
    folder.mkdir(exist_ok=True)
    (folder / "main.py").touch()
    (folder / "agent.yaml").write_text(manifest, encoding="utf-8")
    found = found_package(folder, read_manifest(folder / "agent.yaml"))
    assert found.faults == ()
    assert found.spec is not None
    return found.spec


def test_the_smallest_manifest_takes_every_default_of_the_domain(tmp_path: Path) -> None:
    folder = tmp_path / "my_agent"
    assert spec_of(folder, "version: 1.0.0\nentrypoint: main.py\n") == AgentSpec(
        name="my_agent",
        version="1.0.0",
        directory=str(folder),
        working_directory=str(folder),
        entrypoint="main.py",
    )


def test_every_key_arrives(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    spec = spec_of(
        tmp_path / "full",
        """
name: The Agent
version: "2.0"
type: worker
description: Works.
model: gpt-oss:20b
entrypoint: main.py
working_directory: ../work
capabilities: [plain, {name: full, type: analysis, version: 1.1.0, parameters: {a: 1}, constraints: {b: [x]}}]
autostart: false
replicas: 3
config: {when: 2024-01-01, at: 12:30, no: off, deep: {list: [1, 2.5, null, true]}}
env: {LEVEL: info}
restart: {policy: on-failure, backoff_initial_s: 1, backoff_factor: 3, backoff_max_s: 9, max_restarts: 2, window_s: 5,
  reset_after_s: 7}
readiness: {mode: immediate, timeout_s: 3}
heartbeat: {interval_s: 1, timeout_s: 2, on_inactive: mark}
stop: {signal: SIGINT, timeout_s: 1, drain_timeout_s: 0}
logs: {max_bytes: 2048, files: 2}
""",
    )
    assert spec == AgentSpec(
        name="The Agent",
        version="2.0",
        directory=str(tmp_path / "full"),
        working_directory=str(tmp_path / "work"),
        type="worker",
        description="Works.",
        model="gpt-oss:20b",
        entrypoint="main.py",
        capabilities=(
            Capability(name="plain"),
            Capability(name="full", type="analysis", version="1.1.0", parameters={"a": 1}, constraints={"b": ["x"]}),
        ),
        autostart=False,
        replicas=3,
        config={"when": "2024-01-01", "at": "12:30", "no": "off", "deep": {"list": [1, 2.5, None, True]}},
        env={"LEVEL": "info"},
        restart=RestartPolicy(
            policy=RestartMode.ON_FAILURE,
            backoff_initial_s=1.0,
            backoff_factor=3.0,
            backoff_max_s=9.0,
            max_restarts=2,
            window_s=5.0,
            reset_after_s=7.0,
        ),
        readiness=Readiness(mode=ReadinessMode.IMMEDIATE, timeout_s=3.0),
        heartbeat=HeartbeatPolicy(interval_s=1.0, timeout_s=2.0, on_inactive=OnInactive.MARK),
        stop=StopPolicy(signal="SIGINT", timeout_s=1.0, drain_timeout_s=0.0),
        logs=LogPolicy(max_bytes=2048, files=2),
    )
    assert SPEC.decode(json.loads(json.dumps(SPEC.encode(spec)))) == spec


def test_a_program_without_heartbeat_is_ready_at_once(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "silent", "version: 1.0.0\ncommand: [sleep, '60']\nheartbeat: none\n")
    assert spec.heartbeat is None
    assert spec.readiness.mode is ReadinessMode.IMMEDIATE
    assert spec.command == ("sleep", "60")
    assert spec.entrypoint is None


def test_a_program_of_the_folder_becomes_absolute_and_stays_a_symbolic_link(tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "run").symlink_to("/bin/sh")
    spec = spec_of(folder, "version: 1.0.0\ncommand: [./bin/run, -c, 'exit 0']\n")
    assert spec.command == (str(folder / "bin" / "run"), "-c", "exit 0")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("-3", -3),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("TRUE", True),
        ("!!str 3", "3"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, written: str, value: object) -> None:
    spec = spec_of(tmp_path / "scalars", f"version: 1.0.0\nentrypoint: main.py\nconfig:\n  key: {written}\n")
    assert spec.config == {"key": value}
    assert type(spec.config["key"]) is type(value)


def test_an_alias_stands_for_its_value(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "alias", "version: 1.0.0\nentrypoint: main.py\nconfig: {a: &x [1], b: *x}\n")
    assert spec.config == {"a": [1], "b": [1]}


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "windows", "\ufeffversion: 1.0.0\r\nentrypoint: main.py\r\n")
    assert spec.version == "1.0.0"
