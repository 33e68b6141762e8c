"""Requests are checked where they enter."""

import signal
from typing import Any

import pytest

from agent_manager.launcher.requests import METADATA_LIMIT_BYTES, Signal, Spawn, Update, parse
from agent_manager.launcher.rotating_file import LogFile
from agent_manager.launcher.slots import RequestError


def _spawn(**changes: Any) -> dict[str, Any]:
    log = {"path": "/logs/a.log", "max_bytes": 100, "files": 2}
    message = {
        "type": "spawn",
        "id": 1,
        "slot": "a_0",
        "launch_id": "l1",
        "expected_launch_id": None,
        "argv": ["sleep", "1"],
        "env": {"A": "b"},
        "cwd": "/",
        "output": {"out": log, "err": log},
        "metadata": {"any": ["thing"]},
    }
    return message | changes


def test_a_spawn_is_read_completely() -> None:
    log = LogFile("/logs/a.log", 100, 2)
    assert parse(_spawn()) == Spawn(
        slot="a_0",
        launch_id="l1",
        expected_launch_id=None,
        argv=("sleep", "1"),
        env={"A": "b"},
        cwd="/",
        out=log,
        err=log,
        metadata={"any": ["thing"]},
        not_after=None,
        zygote=None,
    )


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"type": "dance"}, "type: 'dance': expected 'spawn' or 'update'"),
        ({"type": "ack", "slot": "a_0"}, "launch_id: missing"),
        ({"type": "release", "slot": ""}, "slot: '': expected a string that is not empty"),
        (_spawn(argv="sleep"), "argv: 'sleep': expected a list"),
        (_spawn(argv=[""]), "argv: .*: expected a string that is not empty"),
        (_spawn(argv=["\ud800"]), "argv: .*: expected a string without NUL, encodable"),
        (_spawn(env={"A": 1}), "env: {'A': 1}: expected a string"),
        (_spawn(cwd="."), "cwd: '.': expected an absolute path"),
        (_spawn(cwd="/" + "x" * 4096), "cwd: .*: expected an absolute path of less than 4096 bytes"),
        (_spawn(output={"out": {}}), "output.out.path: missing"),
        (_spawn(not_after=float("inf")), "not_after: inf: expected a number"),
        (
            _spawn(metadata="x" * METADATA_LIMIT_BYTES),
            f"metadata: .*: expected at most {METADATA_LIMIT_BYTES} bytes",
        ),
        ({"type": "expect", "zygote": {"env": {}, "preload": []}}, "python: missing"),
        (
            {"type": "expect", "python": "python", "zygote": {"env": {}, "preload": "json"}},
            "zygote.preload: 'json': expected",
        ),
        (_spawn(metadata=_nested(5000)), "metadata: .*: expected JSON that is nested less deeply"),
        ({"type": "signal", "slot": "a", "launch_id": "l", "signal": 15, "scope": "tree"}, "signal: 15: expected"),
        ({"type": "signal", "slot": "a", "launch_id": "l", "signal": "SIGTERM", "scope": "all"}, "scope: 'all'"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(message: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint) as refused:
        parse(message)
    assert refused.value.code == "invalid"


def test_an_update_changes_what_it_names() -> None:
    launch = {"type": "update", "slot": "a_0", "launch_id": "l1"}
    assert parse(launch | {"not_after": None}) == Update(slot="a_0", launch_id="l1", changes={"not_after": None})
    assert parse(launch | {"metadata": 5}) == Update(slot="a_0", launch_id="l1", changes={"metadata": 5})


def test_signals_are_named() -> None:
    message = {"type": "signal", "slot": "a_0", "launch_id": "l1", "signal": "SIGUSR1", "scope": "process"}
    assert parse(message) == Signal(slot="a_0", launch_id="l1", signal=signal.SIGUSR1, whole_tree=False)
