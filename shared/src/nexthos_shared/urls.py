"""The URL of a NATS server: the default one, and one that may be shown.

Comes in: a URL as users write it. Goes out: the same without what is secret. It knows no connection and
imports nothing, because the runner's start-up time is every pipeline's.
"""

from __future__ import annotations

DEFAULT_URL = "nats://127.0.0.1:4222"


def shown(url: str) -> str:
    """`url`, or several with commas between, without user and password."""
    return ",".join(_without_credentials(part) for part in url.split(","))


def _without_credentials(url: str) -> str:
    # By hand: a URL may lack its scheme (`user:secret@host`), and then urlsplit finds no user in it.
    scheme, separator, rest = url.strip().rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
