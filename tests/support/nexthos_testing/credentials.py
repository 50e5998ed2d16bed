"""Users of a NATS server in operator mode: credentials files, and how one is revoked.

As `nsc` makes them, with nothing but the keys' library: a JWT here is signed JSON, and the server asks for
a signature and these few claims.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]

UNLIMITED = dict.fromkeys(("subs", "data", "payload", "conn", "leaf", "imports", "exports"), -1)
STORAGE = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


def _key(kind: int) -> Any:
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), kind))


def _account() -> Any:
    return _key(nkeys.PREFIX_BYTE_ACCOUNT)


def _name(key: Any) -> str:
    return str(key.public_key.decode())


def _signed(issuer: Any, subject: Any, kind: str, claims: Mapping[str, Any]) -> str:
    body = {
        "jti": secrets.token_hex(16),
        "iat": int(time.time()),
        "iss": _name(issuer),
        "name": kind,
        "sub": _name(subject),
        "nats": {**claims, "type": kind, "version": 2},
    }
    parts = [
        _encoded(json.dumps(p).encode()) for p in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)
    ]
    return ".".join([*parts, _encoded(issuer.sign(".".join(parts).encode()))])


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class Operator:
    """An operator with one account; `config` goes into the server's configuration file."""

    def __init__(self) -> None:
        self._operator, self._account = _key(nkeys.PREFIX_BYTE_OPERATOR), _account()
        self._revoked: dict[str, int] = {}
        self.limits: dict[str, int] = {}  # of the account, by the names that its JWT has for them
        system = _account()
        ours = {"system_account": _name(system)}
        limits = {"limits": {**UNLIMITED, "wildcards": True}}
        # Made once: a server does not reload what says that another operator is trusted.
        self._head = (
            f"operator: {_signed(self._operator, self._operator, 'operator', ours)}\n"
            f"resolver: MEMORY\nsystem_account: {_name(system)}\n"
        )
        self._system = f"{_name(system)}: {_signed(self._operator, system, 'account', limits)}"

    @property
    def config(self) -> str:
        limits = {**UNLIMITED, **STORAGE, "wildcards": True, **self.limits}
        claims = {"limits": limits, "revocations": self._revoked}
        account = _signed(self._operator, self._account, "account", claims)
        ours = f"{_name(self._account)}: {account}"
        return f"{self._head}resolver_preload {{ {self._system}, {ours} }}\n"

    def user(self, file: Path, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> str:
        """Write a new user's credentials, in one step; returns the user's public key.

        A user who is given subjects may use no others.
        """
        key = _key(nkeys.PREFIX_BYTE_USER)
        claims: dict[str, Any] = dict.fromkeys(("subs", "data", "payload"), -1)
        if publish or subscribe:
            claims |= {"pub": {"allow": [*publish]}, "sub": {"allow": [*subscribe]}}
        jwt = _signed(self._account, key, "user", claims)
        new = file.with_suffix(".new")
        new.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{key.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        new.replace(file)
        return _name(key)

    def revoke(self, user: str) -> None:
        """Refuse everything of that user from now on, once the server has read `config` again."""
        self._revoked[user] = int(time.time()) + 1
