"""Messages over a UNIX socket, with open descriptors or with who has sent them (`unix(7)`)."""

import socket
import struct

_INT_BYTES = 4
_CREDENTIALS = struct.Struct("=iII")
"""`struct ucred`: pid, uid, gid."""


def receive(peer: socket.socket, limit_bytes: int, *, descriptors: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """One message, and up to so many descriptors. Raises OSError.

    In place of `socket.recv_fds`, which ignores the flags it is given.
    """
    room = socket.CMSG_SPACE(_INT_BYTES * descriptors)
    data, ancillary, _, _ = peer.recvmsg(limit_bytes, room, flags | socket.MSG_CMSG_CLOEXEC)
    received: list[int] = []
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received += memoryview(payload).cast("i").tolist()
    return data, received


def receive_with_sender(peer: socket.socket, limit_bytes: int) -> tuple[bytes, int | None]:
    """One message, and the pid of its sender as the kernel knows it (`SO_PASSCRED` has to be set). Raises OSError."""
    data, ancillary, _, _ = peer.recvmsg(limit_bytes, socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid: int = _CREDENTIALS.unpack(payload)[0]
            return data, pid
    return data, None
