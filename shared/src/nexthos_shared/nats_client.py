"""How NATS is reached: options as the `nats` CLI reads them, and connections that end cleanly.

Comes in: flags, environment variables, context files. Goes out: `ConnectOptions`, and a `Link` while
it is entered. Flags win over the environment, the environment over the selected context. What is not
supported is refused loudly rather than ignored: a connection that is less safe than asked for is worse
than none.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.js.client import JetStreamContext

from nexthos_shared.errors import NotPermitted, SettingsError, StoreUnavailable

DEFAULT_URL = "nats://127.0.0.1:4222"
DRAIN_WITHIN = 2.0  # seconds
CONNECT_WITHIN = 5.0  # seconds, for people who wait at a terminal

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
        return ",".join(_without_credentials(part) for part in self.url.split(","))


def _without_credentials(url: str) -> str:
    parts = urlsplit(url.strip())
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


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
_PATHS = {"creds", "nkey", "cert", "key", "ca"}
_UNSUPPORTED = ("nsc", "socks_proxy", "user_jwt", "user_seed", "windows_cert_store")
_HARMLESS = {"description", "color_scheme", "jetstream_event_prefix", "windows_cert_match"}
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
    except ValueError as error:
        words = f"NATS context {name!r}: {path} is not JSON: {error}"
        raise SettingsError(words, file=str(path)) from error
    if not isinstance(stored, dict):
        raise SettingsError(f"NATS context {name!r}: {path} is not a JSON object", file=str(path))
    set_fields = {field: value for field, value in stored.items() if value not in (None, "", False)}
    for field, value in set_fields.items():
        if field in _UNSUPPORTED or (
            isinstance(value, str) and value.startswith(("op://", "nsc://"))
        ):
            words = f"NATS context {name!r}: {field} is not supported here; use a creds file"
            raise SettingsError(words, field=field, file=str(path))
    by_field = {field: option for option, (_, field) in _SOURCES.items()} | {
        "tls_first": "tls_first"
    }
    for field in sorted(set_fields.keys() - by_field.keys() - _HARMLESS):
        log.warning("NATS context has a field that is not used here", context=name, field=field)
    return {by_field[f]: value for f, value in set_fields.items() if f in by_field}


class Link:
    """A connection, how often it came back, and what the server last refused."""

    def __init__(self) -> None:
        self.nc = Client()
        self.reconnects = 0
        self.refused: str | None = None  # subject of the last permissions violation
        self.options = ConnectOptions()
        self._back = asyncio.Condition()

    @property
    def js(self) -> JetStreamContext:
        """JetStream, with the domain or prefix of the options."""
        if self.options.jetstream_api_prefix:
            return self.nc.jetstream(prefix=self.options.jetstream_api_prefix)
        if self.options.jetstream_domain:
            return self.nc.jetstream(domain=self.options.jetstream_domain)
        return self.nc.jetstream()

    async def wait_reconnect(self, seen: int) -> int:
        """Return the number of reconnects as soon as it is no longer `seen`."""
        async with self._back:
            await self._back.wait_for(lambda: self.reconnects != seen)
        return self.reconnects

    async def _reconnected(self) -> None:
        self.reconnects += 1
        log.info("NATS is back", reconnects=self.reconnects)
        async with self._back:
            self._back.notify_all()

    async def _disconnected(self) -> None:
        if not self.nc.is_closed and not self.nc.is_draining:
            log.warning("NATS is away")

    async def _error(self, error: Exception) -> None:
        words = str(error)
        if "permissions violation" in words.lower():
            self.refused = words
            log.error("NATS refuses a subject", error=words)
        elif not isinstance(error, ConnectionError | OSError | nats_errors.NoServersError):
            log.debug("NATS", error=words, kind=type(error).__name__)


@asynccontextmanager
async def connect(options: ConnectOptions, *, name: str, daemon: bool) -> AsyncIterator[Link]:
    """A connection while it is entered.

    `daemon`: the first connect is tried for ever, with jitter, and a lost one comes back for ever;
    refused credentials raise NotPermitted all the same. Otherwise one short try: StoreUnavailable.
    """
    link = Link()
    link.options = options
    arguments = _arguments(options, link, name)
    if daemon:
        await _connect_some_time(link, arguments)
    else:
        await _connect_now(link, arguments)
    try:
        yield link
    finally:
        await _close(link.nc)


def _arguments(options: ConnectOptions, link: Link, name: str) -> dict[str, Any]:
    for path in (options.creds, options.nkey, options.ca, options.cert, options.key):
        if path is not None and not path.is_file():
            raise SettingsError(f"{path}: no such file", file=str(path))
    given = {
        "user": options.user,
        "password": options.password,
        "token": options.token,
        "user_credentials": str(options.creds) if options.creds else None,
        "nkeys_seed": str(options.nkey) if options.nkey else None,
        "tls": _tls(options),
        "tls_handshake_first": options.tls_first or None,
        "inbox_prefix": options.inbox_prefix,
    }
    return {
        "servers": [part.strip() for part in options.url.split(",")],
        "name": name,
        "reconnected_cb": link._reconnected,
        "disconnected_cb": link._disconnected,
        "error_cb": link._error,
        "ping_interval": 15,
        "reconnect_time_wait": 0.25,
        "connect_timeout": 2,
        **{key: value for key, value in given.items() if value is not None},
    }


def _tls(options: ConnectOptions) -> ssl.SSLContext | None:
    asked_for = options.ca or options.cert or options.url.startswith(("tls://", "wss://"))
    if not asked_for:
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca)
        if options.cert:
            context.load_cert_chain(options.cert, options.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"TLS: {options.ca or options.cert}: {error}") from error
    return context


async def _connect_now(link: Link, arguments: dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await link.nc.connect(**arguments, allow_reconnect=False)
    except Exception as error:
        await _close(link.nc)
        raise _why(error, link.options) from error
    link.nc.options["allow_reconnect"] = True
    link.nc.options["max_reconnect_attempts"] = 20


async def _connect_some_time(link: Link, arguments: dict[str, Any]) -> None:
    """Try for ever, but not on refused credentials (nats-py's own -1 would retry those too)."""
    wait = 0.1
    while True:
        try:
            await link.nc.connect(**arguments, allow_reconnect=False)
            break
        except Exception as error:
            why = _why(error, link.options)
            await _close(link.nc)
            if isinstance(why, NotPermitted | SettingsError):
                raise why from error
            log.warning("NATS can't be reached yet", error=str(why), again_in=round(wait, 1))
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, 5.0)
            link.nc = Client()
    link.nc.options["allow_reconnect"] = True
    link.nc.options["max_reconnect_attempts"] = -1


def _why(error: Exception, options: ConnectOptions) -> Exception:
    words = str(error) or type(error).__name__
    where = f"NATS at {options.safe_url}"
    lowered = words.lower()
    if "authorization" in lowered or "authentication" in lowered or "user credentials" in lowered:
        return NotPermitted(f"{where} refuses these credentials: {words}")
    if isinstance(error, ssl.SSLError):
        return SettingsError(f"{where}: TLS: {words}; name the authority with --tlsca or NATS_CA")
    return StoreUnavailable(
        f"{where} can't be reached: {words} (does a server run there? set NATS_URL or --server)"
    )


async def _close(nc: Client) -> None:
    """Flush what is pending and close, within a bound, whatever state the connection is in."""
    with suppress(Exception):
        if nc.is_connected:
            async with asyncio.timeout(DRAIN_WITHIN):
                await nc.drain()
    with suppress(Exception):
        if not nc.is_closed:
            async with asyncio.timeout(DRAIN_WITHIN):
                await nc.close()
