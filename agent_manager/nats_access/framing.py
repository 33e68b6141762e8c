"""Where one message of NATS ends and the next begins, for every subject a server lets through.

nats-py's parser takes a vertical tab, a form feed or a carriage return in a subject for the end of it, which the server
does not: whoever may publish could disconnect everybody who listens, or have them wait for more for ever.
"""

from __future__ import annotations

import re

from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, CRLF_SIZE, Parser

_END = b"\r\n"
_MESSAGE = re.compile(rb"(?:MSG|(H)MSG) ([^ ]*) ([0-9]+)(?: ([^ ]*))? (?(1)([0-9]+) )([0-9]+)\r\n")
"""`MSG subject sid [reply] size` or `HMSG subject sid [reply] header-size size`, between single spaces."""
MAX_LINE_BYTES = 1_000_000
"""No line of a server comes near; something else at the address might never end one."""


class FramingParser(Parser):
    """Hands nats-py's parser what the server sends line by line and body by body; lines of messages it reads itself.

    `line` is the last one that was handed on.
    """

    line: bytes

    def reset(self) -> None:
        """Forget what has come so far: another connection begins."""
        super().reset()
        self.line = b""
        self._unread = bytearray()
        self._searched = 0

    async def parse(self, data: bytes = b"") -> None:
        """Take what came from the server. Raises ProtocolError for what is not of NATS, as the parser below does."""
        self._unread.extend(data)
        while self._unread:
            size = self._next_size()
            if size is None or size > len(self._unread):
                return
            piece = bytes(self._unread[:size])
            del self._unread[:size]
            if self.state != AWAITING_CONTROL_LINE:
                await super().parse(piece)
            elif not self._begins_message(piece):
                self.line = piece
                await super().parse(piece)

    def _next_size(self) -> int | None:
        if self.state == AWAITING_MSG_PAYLOAD:
            return self.needed + CRLF_SIZE
        end = self._unread.find(_END, max(0, self._searched - 1))
        self._searched = len(self._unread) if end < 0 else 0
        if self._searched > MAX_LINE_BYTES:
            raise ProtocolError
        return None if end < 0 else end + CRLF_SIZE

    def _begins_message(self, line: bytes) -> bool:
        found = _MESSAGE.fullmatch(line)
        if found is None:
            return False
        _, subject, sid, reply, header_size, size = found.groups()
        self.msg_arg = {"subject": subject, "sid": int(sid), "reply": reply or b""}
        self.header_needed = int(header_size or 0)
        self.needed = int(size)
        self.state = AWAITING_MSG_PAYLOAD
        return True
