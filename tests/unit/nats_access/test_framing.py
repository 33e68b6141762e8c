"""Messages come out as they went in, whatever they hold and however the network cuts them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from agent_manager.nats_access.framing import FramingParser

# What a server takes in a subject: everything but what separates the words of a line.
SUBJECTS = st.binary(min_size=1, max_size=20).filter(lambda subject: not set(subject) & set(b" \t\n\r")) | st.builds(
    bytes.join, st.sampled_from([b"\x0b", b"\x0c", b"\r", b"\r\r", b"\xff", b"\0"]), st.just([b"_INBOX.a", b"b"])
)
BODIES = st.binary(max_size=40) | st.sampled_from([b"", b"\r\n", b"MSG a 1 2\r\n{}\r\n", b"-ERR 'x'\r\nPING\r\n"])


@dataclass(frozen=True)
class Sent:
    sid: int
    subject: bytes
    reply: bytes
    data: bytes
    headers: bytes | None

    @property
    def wire(self) -> bytes:
        words = [self.subject, b"%d" % self.sid, *([self.reply] if self.reply else [])]
        head = self.headers or b""
        words = [b"MSG", *words] if self.headers is None else [b"HMSG", *words, b"%d" % len(head)]
        return b" ".join([*words, b"%d" % (len(head) + len(self.data))]) + b"\r\n" + head + self.data + b"\r\n"


MESSAGES = st.builds(
    Sent,
    sid=st.integers(1, 10**6),
    subject=SUBJECTS,
    reply=st.just(b"") | SUBJECTS,
    data=BODIES,
    headers=st.none() | st.binary(max_size=30),
)


@dataclass
class Client:
    """What nats-py's parser knows of its client."""

    heard: list[Any] = field(default_factory=list)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.heard.append(Sent(sid, bytes(subject), bytes(reply), data, headers))

    async def _process_ping(self) -> None:
        self.heard.append("ping")

    async def _process_err(self, message: str) -> None:
        self.heard.append(message)


def parsed(pieces: list[bytes]) -> list[Any]:
    client = Client()
    parser = FramingParser(client)

    async def feed() -> None:
        for piece in pieces:
            await parser.parse(piece)

    asyncio.run(feed())
    return client.heard


@given(messages=st.lists(MESSAGES, min_size=1, max_size=5), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_every_message_is_heard_once_and_whole(messages: list[Sent], cuts: list[int]) -> None:
    wire = b"PING\r\n".join(message.wire for message in messages)
    ends = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    heard = parsed([wire[begin:end] for begin, end in pairwise(ends)])
    # Headers of no bytes are none.
    assert [each for each in heard if each != "ping"] == [
        replace(each, headers=each.headers or None) for each in messages
    ]
    assert heard.count("ping") == len(messages) - 1


def test_what_the_server_says_of_itself_is_left_to_the_library() -> None:
    assert parsed([b"+OK\r\n-ERR 'Slow", b" Consumer'\r\nPING\r\n"]) == ["'slow consumer'", "ping"]


def test_a_line_without_an_end_is_given_up() -> None:
    with pytest.raises(ProtocolError):
        parsed([b"x" * 100_000] * 11)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200\r\n",
        b"MSG a\r\n",
        b"MSG a 1 2 3 4 5\r\n",
        b"MSG a x 2\r\n",
        b"HMSG a 1 3 2\r\n",
        b"MSG a 1 %b\r\n" % (b"1" * 5_000),
        b"X" * 5_000 + b"\r\n",
    ],
)
def test_what_is_not_nats_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parsed([line])
