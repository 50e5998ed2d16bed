"""docker-py's way to a Unix socket, which leaves the socket open when nobody answers at it.

`UnixHTTPConnection.connect` (docker-py 7.1, 7.2) makes a socket, connects, and only then keeps it: a refused
one is closed by whichever garbage collection finds it, with a ResourceWarning. A controller that waits for
its daemon asks again and again.
"""

from __future__ import annotations

import socket

from docker.transport.unixconn import UnixHTTPConnection


def _connect(self: UnixHTTPConnection) -> None:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(self.timeout)
        made.connect(self.unix_socket)
    except BaseException:
        made.close()
        raise
    self.sock = made


def close_refused_sockets() -> None:
    """Have docker-py close them, whoever in this process uses it."""
    UnixHTTPConnection.connect = _connect  # type: ignore[method-assign]
