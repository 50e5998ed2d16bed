"""A port on loopback for an engine's own HTTP."""

from __future__ import annotations

import random
import socket
from collections.abc import Container
from functools import cache
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_BELOW = 12_000  # ports below those that the system gives to connections
_TRIES = 200


def free_port(taken: Container[int]) -> int:
    """A port that nobody listens on now and that is not in `taken`.

    It may be gone by the time the engine binds it, some 20 ms later: the probe finds out. So it is none
    of those that the system hands to every outgoing connection, unless all others are taken.
    """
    for _ in range(_TRIES):
        port = random.choice(_quiet_ports())
        if _is_free(port) and port not in taken:
            return port
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


@cache
def _quiet_ports() -> range:
    try:
        first = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768  # Linux's default
    return range(max(first - _BELOW, 1024), max(first, 1025))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
