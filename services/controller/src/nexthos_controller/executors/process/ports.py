"""A port on loopback for an engine's own HTTP."""

from __future__ import annotations

import socket
from collections.abc import Container
from contextlib import ExitStack


def free_port(taken: Container[int]) -> int:
    """A port that nobody listens on now and that is not in `taken`.

    It may be gone by the time the engine binds it: the probe finds out. `taken` matters because an
    engine binds some 20 ms after it was given its port: until then the system would give it again.
    """
    with ExitStack() as stack:
        while True:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port not in taken:
                return port
