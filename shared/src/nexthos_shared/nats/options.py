"""How NATS is to be reached, as the `nats` CLI reads it: flags, environment variables, context files.

Comes in: flags and an environment. Goes out: `ConnectOptions`. Flags win over the environment, the
environment over the selected context. What is not supported is refused loudly rather than ignored: a
connection that is less safe than asked for is worse than none. Knows no connection.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import structlog

from nexthos_shared.errors import SettingsError
from nexthos_shared.nats import urls
from nexthos_shared.nats.urls import DEFAULT_URL

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """One way to reach NATS. Paths are not opened before `connect`."""

    url: str = DEFAULT_URL
    user: str | None = None
    password: str | None = None
    token: str | None = None
    creds: Path | None = None
    nkey: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    tls_first: bool = False
    inbox_prefix: str | None = None
    jetstream_domain: str | None = None
    jetstream_api_prefix: str | None = None

    @property
    def safe_url(self) -> str:
        """The URL without user and password, for display and for executions."""
        return urls.shown(self.url)


# Flag or field here -> variable of the `nats` CLI -> field of a context file.
_SOURCES = {
    "url": ("NATS_URL", "url"),
    "user": ("NATS_USER", "user"),
    "password": ("NATS_PASSWORD", "password"),
    "token": ("NATS_TOKEN", "token"),
    "creds": ("NATS_CREDS", "creds"),
    "nkey": ("NATS_NKEY", "nkey"),
    "cert": ("NATS_CERT", "cert"),
    "key": ("NATS_KEY", "key"),
    "ca": ("NATS_CA", "ca"),
    "inbox_prefix": (None, "inbox_prefix"),
    "jetstream_domain": (None, "jetstream_domain"),
    "jetstream_api_prefix": (None, "jetstream_api_prefix"),
}
_FIELDS = {field for _, field in _SOURCES.values()}
_PATHS = {"creds", "nkey", "cert", "key", "ca"}
_UNSUPPORTED = ("nsc", "socks_proxy", "user_jwt", "user_seed", "windows_cert_store")
_HARMLESS = {
    "name",
    "description",
    "color_scheme",
    "jetstream_event_prefix",
    "windows_cert_match",
    "windows_cert_match_by",
    "windows_ca_certs_match",
}
_AUTHORITY = ("user", "password", "token", "creds", "nkey")


def resolve(
    *,
    server: str | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
    **flags: str | None,
) -> ConnectOptions:
    """Options from flags, environment and context. Raises SettingsError naming file and field.

    `flags`: user, password, token, creds, nkey, tlscert, tlskey, tlsca.
    """
    environ = os.environ if environ is None else environ
    renamed = {name.removeprefix("tls"): value for name, value in flags.items() if value}
    if server:
        renamed["url"] = server
    from_environment = {
        name: environ[variable]
        for name, (variable, _) in _SOURCES.items()
        if variable and environ.get(variable)
    }
    values: dict[str, Any] = {}
    for layer in (_context(context, environ), from_environment, renamed):
        if any(name in layer for name in _AUTHORITY):
            values = {n: v for n, v in values.items() if n not in _AUTHORITY}
        values |= layer
    known = {f.name for f in fields(ConnectOptions)}
    if unknown := sorted(values.keys() - known):
        raise SettingsError(f"unknown connection option {unknown[0]!r}", field=unknown[0])
    for name in _PATHS & values.keys():
        values[name] = Path(str(values[name])).expanduser()
    return replace(ConnectOptions(), **values)


def _context(name: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    folder = Path(base) / "nats"
    asked_for = name or environ.get("NATS_CONTEXT")
    if asked_for is None:
        with suppress(OSError):
            asked_for = (folder / "context.txt").read_text().strip()
    if not asked_for:
        return {}
    if "/" in asked_for or asked_for.startswith("."):
        raise SettingsError(f"NATS context {asked_for!r}: not a context name", field="context")
    return _read_context(folder / "context" / f"{asked_for}.json", asked_for)


def _read_context(path: Path, name: str) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())
    except OSError as error:
        words = f"NATS context {name!r}: {path}: {error.strerror}; `nats context ls` lists them"
        raise SettingsError(words, field="context", file=str(path)) from error
    except (ValueError, RecursionError) as error:
        words = f"NATS context {name!r}: {path} is not JSON: {error}"
        raise SettingsError(words, file=str(path)) from error
    if not isinstance(stored, dict):
        raise SettingsError(f"NATS context {name!r}: {path} is not a JSON object", file=str(path))
    set_fields = {f: value for f, value in stored.items() if value not in (None, "", False, [])}
    for field, value in set_fields.items():
        if why := _refusal(field, value):
            raise SettingsError(f"NATS context {name!r}: {why}", field=field, file=str(path))
    by_field = {field: option for option, (_, field) in _SOURCES.items()} | {
        "tls_first": "tls_first"
    }
    for field in sorted(set_fields.keys() - by_field.keys() - _HARMLESS):
        log.warning("NATS context has a field that is not used here", context=name, field=field)
    return {by_field[f]: value for f, value in set_fields.items() if f in by_field}


def _refusal(field: str, value: Any) -> str | None:
    """Why a field of a context can't be used, or None if it can or does not matter."""
    if field in _UNSUPPORTED:
        return f"{field} is not supported here; use a creds file"
    if field == "tls_first":
        return None if isinstance(value, bool) else "tls_first must be true or false"
    if field in _HARMLESS or field not in _FIELDS:
        return None
    if not isinstance(value, str):
        return f"{field} must be a text, not {type(value).__name__}"
    if field != "url" and "://" in value:  # op://, nsc://, env://, ...: where a secret is kept
        return f"{field}: {value.partition('://')[0]}:// is not supported here; use a creds file"
    return None
