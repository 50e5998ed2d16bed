"""The URL of a NATS server: the default one, what is secret in one, where it leads.

Comes in: a URL as users write it. Goes out: the same without what is secret. It knows no connection and
imports nothing, because the runner's start-up time is every pipeline's.
"""

from __future__ import annotations

DEFAULT_URL = "nats://127.0.0.1:4222"


def shown(url: str) -> str:
    """`url`, or several with commas between, without user and password."""
    return ",".join(_without_credentials(part) for part in url.split(","))


def has_credentials(url: str) -> bool:
    """Whether user or password stand in `url`, or in one of several with commas between."""
    return shown(url) != ",".join(part.strip() for part in url.split(","))


def is_loopback(url: str) -> bool:
    """Whether every server in `url` is the very machine, or container, that asks."""
    return all(_host(part) in ("127.0.0.1", "localhost", "[::1]") for part in url.split(","))


def _host(url: str) -> str:
    authority = _without_credentials(url).rpartition("://")[2].partition("/")[0]
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() else authority


def _without_credentials(url: str) -> str:
    # By hand: a URL may lack its scheme (`user:secret@host`), and then urlsplit finds no user in it.
    scheme, separator, rest = url.strip().rpartition("://")
    authority, slash, path = rest.partition("/")
    _, colon, port = authority.rpartition(":")
    is_port = not colon or port.isdigit() or authority.endswith((":", "]"))
    if "@" not in authority and not is_port:  # a password with / or a comma in it
        return f"{scheme}{separator}***"
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
