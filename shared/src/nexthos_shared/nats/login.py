"""What a client shows of itself: the user in a URL, a credentials file, the seed of an nkey.

Comes in: URLs and paths, as users write them. Goes out: what nats-py sends, or `Unusable` with words that
name what is wrong and nothing that is secret. nats-py's own reading takes `%40` in a URL as it stands,
and waits for ever for the JWT of a file that has none.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import nkeys  # type: ignore[import-untyped]
from nats import errors as nats_errors

from nexthos_shared.errors import SettingsError
from nexthos_shared.nats import urls

SCHEMES = ("nats", "tls", "ws", "wss")
_JWT = re.compile(rb"-+BEGIN NATS USER JWT-+\s+([^\s-][^\s]*)")
_SEED = re.compile(rb"-+BEGIN USER NKEY SEED-+\s+([^\s-][^\s]*)")
_BARE_SEED = re.compile(rb"^\s*(S[A-Z2-7]+)\s*$", re.MULTILINE)  # as `nk -gen user` writes it


class Unusable(nats_errors.Error):
    """The credentials file can't be used now; it may be half-way through a rotation."""


def servers_of(url: str) -> list[str]:
    """Each server of a list with commas. Raises SettingsError for what is no URL of one."""
    servers = [part.strip() for part in url.split(",") if part.strip()]
    if not servers:
        raise SettingsError("no server is named", field="server")
    schemes = set()
    for server in servers:
        parts = _parts(server)
        try:
            usable = bool(parts.hostname) and parts.scheme in SCHEMES and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            words = (
                f"server {urls.shown(server)}: not like nats://HOST:4222 (nats, tls, ws or wss); "
            )
            words += "in a user or password write @ as %40, / as %2F, : as %3A and a comma as %2C"
            raise SettingsError(words, field="server")
        schemes.add(parts.scheme.startswith("ws"))
    if len(schemes) > 1:
        raise SettingsError(
            "servers: WebSockets and plain ones can't be in one list", field="server"
        )
    return servers


def _parts(server: str) -> SplitResult:
    try:
        return urlsplit(server if "://" in server else f"nats://{server}")
    except ValueError:  # half of an IPv6 address
        return SplitResult("", "", "", "", "")


def login_of(server: str) -> dict[str, Any]:
    """User and password in the URL of one server, or its token, decoded; {} if there is none."""
    parts = _parts(server)
    if not parts.username:
        return {}
    if parts.password is None:
        return {"token": unquote(parts.username)}
    return {"user": unquote(parts.username), "password": unquote(parts.password)}


def jwt_of(file: Path) -> bytearray:
    """The user's JWT in a credentials file. Raises Unusable, OSError."""
    found = _JWT.search(file.read_bytes())
    if found is None:
        raise Unusable("it is no credentials file: it has no NATS USER JWT")
    return bytearray(found[1])


def pair_of(file: Path) -> Any:
    """The keys of the seed in a credentials file, or in one that holds the seed alone.

    Raises Unusable, OSError.
    """
    content = file.read_bytes()
    found = _SEED.search(content) or _BARE_SEED.search(content)
    if found is None:
        raise Unusable("it holds no seed of a user's nkey, which begins with SU")
    if not found[1].startswith(b"SU"):
        raise Unusable("its nkey is not that of a user, which begins with SU")
    try:
        # nkeys itself looks at no checksum.
        secret = base64.b32decode(found[1] + b"=" * (-len(found[1]) % 8))[2:-2]
        if nkeys.encode_seed(secret, nkeys.PREFIX_BYTE_USER) == found[1]:
            return nkeys.from_seed(bytearray(found[1]))
    except Exception as error:  # of many kinds: TypeError, binascii.Error, nkeys' own
        raise Unusable("the seed of its nkey is damaged") from error
    raise Unusable("the seed of its nkey is damaged")
