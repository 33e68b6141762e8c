"""What a zygote makes of orders that it does not understand: nothing, and the instance is executed."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from agent_manager.launcher import zygote
from agent_manager.launcher.forking import Birth

COMPLETE = {
    "descriptors": 3,
    "has_cgroup": True,
    "argv": ["python", __file__],
    "env": {},
    "cwd": "/",
    "launcher_pid": os.getpid(),
    "open_files": [1024, 1024],
    "limits": {},
    "no_new_privileges": False,
    "bounded_by_cgroup": ["memory"],
}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    launcher, instance = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with launcher, instance:
        yield launcher, instance


def _taken_on(ends: tuple[socket.socket, socket.socket], *, given: int, born: bool, order: dict[str, Any]) -> Any:
    launcher, instance = ends
    with ExitStack() as held, os.fdopen(os.memfd_create("order"), "w+b") as file:
        file.write(json.dumps(order).encode())
        file.seek(0)
        nulls = [held.enter_context(open(os.devnull, "rb")) for _ in range(given)]
        socket.send_fds(launcher, [b"order"], [file.fileno(), *(null.fileno() for null in nulls)])
        return zygote._take_on(instance, zygote.Imported(), Birth(between=0, in_cgroup=born))


@pytest.mark.parametrize("in_cgroup", [True, False])
def test_an_instance_enters_its_cgroup_unless_it_was_born_there(
    ends: tuple[socket.socket, socket.socket], in_cgroup: bool
) -> None:
    taken = _taken_on(ends, given=3, born=in_cgroup, order=COMPLETE)
    assert (taken.program.cgroup is None) is in_cgroup
    assert ends[0].recv(16) == zygote.HERE


@pytest.mark.parametrize(
    ("given", "order"),
    [
        (2, COMPLETE),
        (2, {key: value for key, value in COMPLETE.items() if key not in ("descriptors", "has_cgroup")}),
    ],
    ids=["a descriptor is lost", "of the version before"],
)
def test_nothing_is_taken_on_that_is_not_understood(
    ends: tuple[socket.socket, socket.socket], given: int, order: dict[str, Any]
) -> None:
    with pytest.raises(zygote.UnfitError, match="another version"):
        _taken_on(ends, given=given, born=False, order=order)
    ends[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends[0].recv(16)
