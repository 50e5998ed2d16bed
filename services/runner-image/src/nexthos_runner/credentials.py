"""What a NATS server is shown: who we are, and whom we trust.

Comes in: files and a URL's user. Goes out: fields of CONNECT, a TLS context. `Failed` with code 78 for a
file that can't be used. What it takes (nkeys with its cryptography, OpenSSL) is imported when needed: most
stores need none of it, and it takes 30 ms.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

from nexthos_runner import files
from nexthos_runner.failed import Failed
from nexthos_shared.exit_codes import Exit

if TYPE_CHECKING:
    import ssl

MAX_CREDS = 64 * 1024  # bytes
_JWT = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s+-+END")
_SEED = re.compile(r"BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END")


def fields(
    creds: Path | None, user: str | None, password: str | None, nonce: str
) -> dict[str, str]:
    """The fields of CONNECT. A credentials file counts more than what stands in the URL."""
    if creds is not None:
        return _signed(creds, nonce)
    if user is None:
        return {}
    return {"auth_token": user} if password is None else {"user": user, "pass": password}


def _signed(creds: Path, nonce: str) -> dict[str, str]:
    try:
        text = files.read(creds, MAX_CREDS).decode()
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "not text"
        raise Failed(Exit.SETTINGS, f"credentials file {creds}: {words}") from error
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        raise Failed(Exit.SETTINGS, f"credentials file {creds}: holds no JWT and seed of a user")
    import nkeys  # type: ignore[import-untyped]

    try:
        signature = nkeys.from_seed(seed[1].encode()).sign(nonce.encode())
    except Exception as error:  # the library has no one error, and its words may hold the seed
        raise Failed(Exit.SETTINGS, f"credentials file {creds}: not a user's seed") from error
    sig = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    return {"jwt": jwt[1], "sig": sig}


def tls(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """How the server is checked, and what we show it."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        words = getattr(error, "strerror", None) or error
        raise Failed(Exit.SETTINGS, f"TLS: {ca or cert}: {words}") from error
    return context
