"""Where one message of NATS ends and the next begins, for every subject a server lets through.

nats-py's parser takes a vertical tab, a form feed or a carriage return in a subject for the end of it, which the server
does not: whoever may publish could disconnect everybody who listens, or have them wait for more for ever.
"""

from __future__ import annotations

import re

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

_END = b"\r\n"
_NUMBER = rb"([0-9]{1,18})"
_MESSAGE = re.compile(rb"(?:MSG|(H)MSG) ([^ ]*) %b(?: ([^ ]*))? (?(1)%b )%b\r\n" % (_NUMBER, _NUMBER, _NUMBER))
"""`MSG subject sid [reply] size` or `HMSG subject sid [reply] header-size size`, between single spaces."""
MAX_LINE_BYTES = 1_000_000
"""No line of a server comes near; something else at the address might never end one."""


class FramingParser(Parser):
    """Reads messages itself, and hands nats-py's parser what else the server says, line by line.

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
        while (line_size := self._line_size()) is not None:
            found = _MESSAGE.fullmatch(self._unread, 0, line_size)
            if found is None:
                await self._hand_on(self._taken(line_size))
                continue
            _, subject, sid, reply, header_size, size = found.groups()
            head_bytes, all_bytes = int(header_size or 0), int(size)
            if head_bytes > all_bytes:
                raise ProtocolError
            if len(self._unread) < line_size + all_bytes + len(_END):
                return
            del self._unread[:line_size]
            headers, body = self._taken(head_bytes), self._taken(all_bytes - head_bytes)
            del self._unread[: len(_END)]
            await self.nc._process_msg(int(sid), subject, reply or b"", body, headers or None)

    def _line_size(self) -> int | None:
        """Of the line that what is unread begins with; None until its end has come."""
        end = self._unread.find(_END, max(0, self._searched - 1))
        self._searched = len(self._unread) if end < 0 else 0
        if self._searched > MAX_LINE_BYTES:
            raise ProtocolError
        return None if end < 0 else end + len(_END)

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    async def _hand_on(self, line: bytes) -> None:
        if line.startswith((b"MSG", b"HMSG")):
            raise ProtocolError
        self.line = line
        await super().parse(line)
        if self.buf:
            # It waits for more of a line that is whole, and would understand no other any more.
            raise ProtocolError
