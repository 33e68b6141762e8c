"""A controller that decides nothing: it passes frames between the launcher (descriptor 3) and a test's socket.

It runs as a script of its own, `python launcher_relay.py SOCKET`, and exits with 0 when the test closes the connection.
"""

import select
import socket
import sys

_READ_BYTES = 1 << 20


def main() -> None:
    """Relay until either side closes."""
    launcher = socket.socket(fileno=3)
    test = socket.socket(socket.AF_UNIX)
    test.connect(sys.argv[1])
    other = {launcher: test, test: launcher}
    while True:
        readable, _, _ = select.select([launcher, test], [], [])
        for source in readable:
            data = source.recv(_READ_BYTES)
            if not data:
                return
            other[source].sendall(data)


if __name__ == "__main__":
    main()
