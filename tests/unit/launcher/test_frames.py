"""Frames survive any fragmentation; what is not a frame ends the connection; a slow reader blocks nobody."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.frames import MAX_FRAME_BYTES, FrameConnection, FrameDecoder, FrameError, Message, encode

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_MESSAGES = st.lists(st.dictionaries(st.text(), _JSON, max_size=4), max_size=6)


@given(messages=_MESSAGES, cuts=st.lists(st.integers(min_value=1, max_value=40), min_size=1))
def test_messages_arrive_whole_however_their_bytes_are_cut(messages: list[Message], cuts: list[int]) -> None:
    data = b"".join(map(encode, messages))
    decoder = FrameDecoder()
    received: list[Message] = []
    position = index = 0
    while position < len(data):
        step = cuts[index % len(cuts)]
        decoder.feed(data[position : position + step])
        received += decoder.messages()
        position, index = position + step, index + 1
    assert received == messages


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_messages_or_a_frame_error(data: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(data)
    with contextlib.suppress(FrameError):
        assert all(isinstance(message, dict) for message in decoder.messages())


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ((MAX_FRAME_BYTES + 1).to_bytes(4, "big"), str(MAX_FRAME_BYTES + 1)),
        (_frame(b"{"), "not JSON"),
        (_frame(b"\xff\xfe\xfd"), "not JSON"),
        (_frame(b"[" * 100_000), "not JSON"),
        (_frame(b"[1]"), "expected an object"),
        (_frame(b""), "not JSON"),
    ],
)
def test_what_is_not_a_frame_is_refused_with_a_reason(data: bytes, complaint: str) -> None:
    decoder = FrameDecoder()
    decoder.feed(data)
    with pytest.raises(FrameError, match=complaint.replace("[", r"\[")):
        list(decoder.messages())


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(FrameError, match="at most"):
        encode({"body": "x" * MAX_FRAME_BYTES})


class _Peers:
    """A connection in a loop, and the socket at its other end."""

    def __init__(self) -> None:
        self.loop = EventLoop()
        ours, self.theirs = socket.socketpair()
        self.messages: list[Message] = []
        self.ended: list[str | None] = []
        self.connection = FrameConnection(self.loop, ours, on_message=self.messages.append, on_closed=self._end)

    def _end(self, reason: str | None) -> None:
        self.ended.append(reason)
        self.loop.stop()


@pytest.fixture
def peers() -> Iterator[_Peers]:
    peers = _Peers()
    yield peers
    peers.connection.close()
    peers.theirs.close()
    peers.loop.close()


def test_sending_never_waits_for_a_reader_and_loses_nothing(peers: _Peers) -> None:
    sent: list[dict[str, Any]] = [{"number": number, "padding": "x" * 10_000} for number in range(500)]
    for message in sent:
        peers.connection.send(message)
    decoder = FrameDecoder()
    received: list[Message] = []
    peers.theirs.setblocking(False)

    def read() -> None:
        decoder.feed(peers.theirs.recv(64 * 1024))
        received.extend(decoder.messages())
        if len(received) == len(sent):
            peers.loop.stop()

    peers.loop.watch(peers.theirs.fileno(), read)
    peers.loop.run()
    assert received == sent


def test_the_end_of_the_peer_is_told_after_its_last_message(peers: _Peers) -> None:
    peers.theirs.sendall(encode({"last": True}))
    peers.theirs.close()
    peers.loop.run()
    assert (peers.messages, peers.ended) == ([{"last": True}], [None])


def test_an_unreadable_frame_ends_the_connection_with_its_reason(peers: _Peers) -> None:
    peers.theirs.sendall(encode({"first": True}) + _frame(json.dumps([]).encode()))
    peers.loop.run()
    assert peers.messages == [{"first": True}]
    assert peers.ended == ["a frame holds a JSON list: expected an object"]
    peers.connection.send({"after": "the end"})
    assert peers.theirs.recv(1) == b""
