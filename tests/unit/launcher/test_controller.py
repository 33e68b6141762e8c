"""Every request is answered, whatever becomes of it."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent_manager.launcher.controller import Controller
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.frames import FrameDecoder, Message, encode
from agent_manager.launcher.instances import Instances
from agent_manager.launcher.requests import Signal
from agent_manager.launcher.service_table import ControllerReady


class _OutOfDescriptors(Instances):
    """There are none, and looking for one fails."""

    def __init__(self) -> None: ...

    def on_event(self, listener: Callable[[dict[str, Any]], None]) -> None: ...

    def describe(self) -> list[dict[str, Any]]:
        return []

    def signal(self, request: Signal) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def release(self, slot_name: str) -> None: ...


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture
def manager(loop: EventLoop) -> Iterator[socket.socket]:
    controller = Controller(loop, _OutOfDescriptors(), run="r1", cgroup_controllers=None)
    rules = ControllerReady(hang_timeout_s=60.0, start_timeout_s=60.0)
    with controller.connect(rules, on_ready=lambda: None, on_failed=lambda _reason: None) as manager:
        yield manager
        controller.disconnect()


def _replies(loop: EventLoop, manager: socket.socket, count: int) -> list[Message]:
    decoder = FrameDecoder()
    replies: list[Message] = []

    def read() -> None:
        decoder.feed(manager.recv(1 << 16))
        replies.extend(message for message in decoder.messages() if message["type"] == "reply")
        if len(replies) == count:
            loop.stop()

    loop.watch(manager.fileno(), read)
    loop.run()
    return replies


def test_a_request_that_fails_unexpectedly_is_answered_and_so_are_those_behind_it(
    loop: EventLoop, manager: socket.socket, capfd: pytest.CaptureFixture[str]
) -> None:
    fails = {"type": "signal", "id": 1, "slot": "a", "launch_id": "l1", "signal": "SIGTERM", "scope": "tree"}
    manager.sendall(encode(fails) + encode({"type": "release", "id": 2, "slot": "a"}))
    refused, carried_out = _replies(loop, manager, 2)
    assert refused["error"] == {"code": "internal", "message": "OSError: [Errno 24] Too many open files"}
    assert carried_out == {"type": "reply", "id": 2, "ok": True, "result": {}}
    assert "Too many open files" in capfd.readouterr().err
