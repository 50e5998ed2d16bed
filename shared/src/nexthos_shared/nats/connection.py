"""Connections to NATS that come back, say what was refused, and end cleanly.

Comes in: `ConnectOptions`. Goes out: a `Link` while `connect` is entered. Knows nothing of what is
stored. How one connection outlives what ends nats-py's own is in `client`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.js.client import JetStreamContext

from nexthos_shared.backoff import Backoff
from nexthos_shared.errors import NotPermitted, SettingsError, StoreUnavailable
from nexthos_shared.nats import wire as nats_wire
from nexthos_shared.nats.client import EnduringClient
from nexthos_shared.nats.login import Unusable, servers_of
from nexthos_shared.nats.options import ConnectOptions, resolve
from nexthos_shared.nats.skips import Behind, Skips
from nexthos_shared.nats.urls import DEFAULT_URL

__all__ = ["DEFAULT_URL", "ConnectOptions", "Link", "connect", "resolve"]

DRAIN_WITHIN = 2.0  # seconds
CLOSE_WITHIN = 0.5  # seconds, where nothing is to be flushed (a failed TLS handshake never ends)
CONNECT_WITHIN = 5.0  # seconds, for people who wait at a terminal
LEAST = 1.0  # seconds that a question has when the command's time is over: it may have waited for changes
LOOK = 0.05  # seconds
HEADERS_BYTES = 512  # of a message with headers of ours, at most
API = "$JS.API"  # what JetStream's subjects begin with where there is neither domain nor prefix
RECONNECT_EVERY = 0.25  # seconds
CONNECT_AGAIN = Backoff(0.1, 5.0)  # seconds between attempts to connect for the first time
# With its defaults nats-py knocks 60 times at a closed door, and then does not say what it heard.
FIRST_CONNECT: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 1}
_REFUSED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')

log = structlog.get_logger(__name__)


class Link:
    """A connection, how often it came back, and what the server refuses.

    Whoever must act on a reconnect remembers `reconnects` and awaits `wait_reconnect(seen)`.
    """

    def __init__(self, options: ConnectOptions | None = None, name: str = "") -> None:
        self.name = name  # as the server lists it
        self.skips = Skips()  # messages that were passed over
        self.behind: dict[str, Behind] = {}  # watches that do not get on, by bucket and pattern
        self.nc: Client = EnduringClient(self.skips)
        self.options = options or ConnectOptions()
        self.reconnects = 0
        self.deaf: str | None = None  # the inbox that we may not subscribe to: no reply reaches us
        self.refusals: set[Callable[[str], None]] = set()  # told each refused subject, lower case
        self._back = asyncio.Condition()
        self._complaint = ""
        self._heard: Exception | None = None  # the last error that was not about a subject
        # The loop's time until which a lost connection is waited for; None: it is told at once.
        self.until: float | None = None
        self.late = False  # the first connection had to be waited for
        self._told: set[str] = set()

    def time_for(self, usual: float) -> float:
        """Seconds that a question may take in all; `usual` where nobody said how long."""
        if self.until is None:
            return usual
        return max(self.until - asyncio.get_running_loop().time(), LEAST)

    @property
    def has_jetstream(self) -> bool:
        """Whether JetStream can be there some time: a single server says that it has none."""
        info = self.nc._server_info
        single = not info.get("cluster") and not self.options.jetstream_domain
        return bool(info.get("jetstream")) or not single

    async def connected(self, deadline: float) -> None:
        """Return as soon as the connection is there. Raises StoreUnavailable, and NotPermitted at once.

        `deadline`: in the loop's time.
        """
        while not self.nc.is_connected:
            if _about_credentials(self._complaint):
                raise NotPermitted(
                    f"NATS at {self.options.safe_url} refuses these credentials: {self._complaint}"
                )
            if self.nc.is_closed or asyncio.get_running_loop().time() >= deadline:
                raise StoreUnavailable(f"NATS at {self.options.safe_url} is away")
            self.tell_once(f"waiting for NATS at {self.options.safe_url}")
            await asyncio.sleep(LOOK)

    def tell_once(self, words: str) -> None:
        """Warn whoever waits; the same words once for each connection."""
        if words not in self._told:
            self._told.add(words)
            log.warning(words)

    @property
    def js(self) -> JetStreamContext:
        """JetStream, with the domain or prefix of the options."""
        if self.options.jetstream_api_prefix:
            return self.nc.jetstream(prefix=self.options.jetstream_api_prefix)
        if self.options.jetstream_domain:
            return self.nc.jetstream(domain=self.options.jetstream_domain)
        return self.nc.jetstream()

    def written(self, subject: str) -> str:
        """Where a value for a bucket's `subject` is published.

        In another domain a server takes `$KV` behind the prefix of its API only, as nats.go sends it;
        objects and other streams' subjects are taken as they are (measured with nats-server 2.15).
        """
        prefix = self.js._prefix
        return subject if prefix == API else f"{prefix}.{subject}"

    def room(self, usual: int) -> int:
        """Bytes of one message's body: `usual`, or less where this server lets less through."""
        return room_of(self.nc, usual)

    async def wait_reconnect(self, seen: int) -> int:
        """Return the number of reconnects as soon as it is no longer `seen`."""
        async with self._back:
            await self._back.wait_for(lambda: self.reconnects != seen)
        return self.reconnects

    def reason(self, error: Exception) -> Exception:
        """What is behind an error that says no more than that no server is left, or no time."""
        vague = isinstance(error, nats_errors.NoServersError | TimeoutError)
        return self._heard if vague and self._heard is not None else error

    async def _reconnected(self) -> None:
        self.reconnects += 1
        self._complaint = ""
        log.info("NATS is back", connection=self.name, reconnects=self.reconnects)
        async with self._back:
            self._back.notify_all()

    async def _disconnected(self) -> None:
        self.deaf = None  # the next connection may have other permissions
        if not self.nc.is_closed and not self.nc.is_draining:
            log.warning("NATS is away", connection=self.name)

    async def _error(self, error: Exception) -> None:
        words = str(error)
        if refused := _REFUSED.search(words):
            self._refused(*refused.groups())
            return
        self._heard = error
        if _about_credentials(words) or " connections exceeded" in words.lower():
            if words != self._complaint:
                what = "these credentials; they are" if _about_credentials(words) else "us; it is"
                log.error(f"NATS refuses {what} tried again", error=words)
            self._complaint = words
        elif not isinstance(error, ConnectionError | OSError | nats_errors.NoServersError):
            log.debug("NATS", error=words, kind=type(error).__name__)

    def _refused(self, verb: str, subject: str) -> None:
        ours = (one._subject for one in self.nc._subs.values() if one._subject.lower() == subject)
        subject = next(ours, subject)  # in its own case
        log.error("NATS refuses a subject", verb=verb, subject=subject)
        inbox = self.options.inbox_prefix or "_INBOX"
        if verb == "subscription" and subject.lower().startswith(inbox.lower()):
            self.deaf = subject
        for told in list(self.refusals):
            told(subject)


def room_of(nc: Client, usual: int) -> int:
    """See `Link.room`. Headers count; another server of a cluster may let other sizes through."""
    return min(usual, max(nc.max_payload - HEADERS_BYTES, 1))


@asynccontextmanager
async def connect(
    options: ConnectOptions, *, name: str, daemon: bool, within: float | None = None
) -> AsyncIterator[Link]:
    """A connection while it is entered.

    `daemon`: the first connect is tried for ever, with jitter, and a lost one comes back for ever;
    credentials that are refused at first raise NotPermitted all the same, credentials that are
    revoked later are read and tried again. Otherwise one short try: StoreUnavailable, and a lost
    connection is given up after some seconds.

    `within`: seconds that somebody gave to all of it. So long the first connect is tried, but not with a
    host name that nobody knows, and so long questions are asked again (see `asked`).
    """
    link = Link(options, name)
    arguments = _arguments(options, link, name)
    if any(server.startswith(("ws://", "wss://")) for server in arguments["servers"]):
        nats_wire.know_websockets()
    try:
        if daemon:
            await _connect_some_time(link, arguments)
        else:
            await _connect_for(link, arguments, within)
        yield link
    except BaseException:
        # All that was written was acknowledged: a frozen server keeps nobody who was told to end.
        await _close(link.nc, drained=daemon)
        raise
    await _close(link.nc)


def _arguments(options: ConnectOptions, link: Link, name: str) -> dict[str, Any]:
    for path in (options.creds, options.nkey, options.ca, options.cert, options.key):
        if path is not None and not path.is_file():
            raise SettingsError(f"{path}: no such file", file=str(path))
    given = {
        "user": options.user,
        "password": options.password or ("" if options.user else None),  # as the `nats` CLI has it
        "token": options.token,
        "user_credentials": str(options.creds) if options.creds else None,
        "nkeys_seed": str(options.nkey) if options.nkey else None,
        "tls": _tls(options),
        "tls_handshake_first": options.tls_first or None,
        "inbox_prefix": options.inbox_prefix,
    }
    return {
        "servers": servers_of(options.url),
        "name": name,
        "reconnected_cb": link._reconnected,
        "disconnected_cb": link._disconnected,
        "error_cb": link._error,
        # A server that froze keeps its connections, and everything sent to it is lost without a word.
        "ping_interval": 1,
        "max_outstanding_pings": 2,
        "reconnect_time_wait": RECONNECT_EVERY,
        "connect_timeout": 2,
        **{key: value for key, value in given.items() if value is not None},
    }


def _tls(options: ConnectOptions) -> ssl.SSLContext | None:
    secure = any(part.startswith(("tls://", "wss://")) for part in servers_of(options.url))
    asked_for = options.ca or options.cert or secure
    if not asked_for:
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca)
        if options.cert:
            context.load_cert_chain(options.cert, options.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"TLS: {options.ca or options.cert}: {error}") from error
    return context


async def _connect_for(link: Link, arguments: dict[str, Any], within: float | None) -> None:
    """Once, or until `within` seconds are over where that can help."""
    loop = asyncio.get_running_loop()
    until = loop.time() + (within or 0.0)
    while True:
        try:
            left = until - loop.time() if within else CONNECT_WITHIN
            async with asyncio.timeout(min(max(left, RECONNECT_EVERY), CONNECT_WITHIN)):
                await link.nc.connect(**arguments, **FIRST_CONNECT)
            break
        except Exception as error:
            heard = link.reason(error)
            why = _why(heard, link.options)
            lasting = not isinstance(why, StoreUnavailable) or isinstance(heard, socket.gaierror)
            if lasting or loop.time() + RECONNECT_EVERY >= until:
                raise why from error
        link.tell_once(f"waiting for NATS at {link.options.safe_url}")
        await _close(link.nc)
        link.nc, link.late, link._heard = EnduringClient(link.skips), True, None
        await asyncio.sleep(RECONNECT_EVERY)
    if within is not None:
        link.until = until
    link.nc.options["allow_reconnect"] = True
    link.nc.options["max_reconnect_attempts"] = max(20, int((within or 0.0) / RECONNECT_EVERY))


async def _connect_some_time(link: Link, arguments: dict[str, Any]) -> None:
    """Try for ever, but not on refused credentials (nats-py's own -1 would retry those too)."""
    failures = 0
    while True:
        try:
            await link.nc.connect(**arguments, **FIRST_CONNECT)
            break
        except Exception as error:
            why = _why(link.reason(error), link.options)
            await _close(link.nc)
            if isinstance(why, NotPermitted | SettingsError):
                raise why from error
            failures += 1
            wait = CONNECT_AGAIN.after(failures)
            log.warning("NATS can't be reached yet", error=str(why), again_in=round(wait, 1))
            await asyncio.sleep(wait)
            link.nc = EnduringClient(link.skips)
    link.nc.options["allow_reconnect"] = True
    link.nc.options["max_reconnect_attempts"] = -1


def _about_credentials(words: str) -> bool:
    lowered = words.lower()
    return any(w in lowered for w in ("authorization", "authentication", "credentials"))


def _why(error: Exception, options: ConnectOptions) -> Exception:
    words = _plain(error)
    where = f"NATS at {options.safe_url}"
    file = options.creds or options.nkey
    if isinstance(error, Unusable):
        return SettingsError(f"{where}: {file}: {words}", file=str(file) if file else None)
    if _about_credentials(words):
        return NotPermitted(f"{where} refuses these credentials: {words}")
    if isinstance(error, ssl.SSLError):
        return SettingsError(f"{where}: TLS: {words}; name the authority with --tlsca or NATS_CA")
    if " connections exceeded" in words.lower():
        return StoreUnavailable(f"{where} takes no more connections: {words}")
    return StoreUnavailable(
        f"{where} can't be reached: {words} (does a server run there? set NATS_URL or --server)"
    )


def _plain(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):  # asyncio's own words name no reason
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).removeprefix("nats: ") or type(error).__name__


async def _close(nc: Client, *, drained: bool = True) -> None:
    """Flush what is pending and close, within a bound, whatever state the connection is in."""
    within = CLOSE_WITHIN
    with suppress(Exception):
        if nc.is_connected and drained:
            within = DRAIN_WITHIN
            async with asyncio.timeout(within):
                await nc.drain()
    with suppress(Exception):
        if not nc.is_closed:
            async with asyncio.timeout(within):
                await nc.close()
