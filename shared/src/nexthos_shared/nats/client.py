"""nats-py's client, without the ways in which it stops for good (each was seen).

Comes in: what servers, and whoever may publish to a subject of ours, send. Goes out: messages, and errors
that name what was refused. It knows neither options nor what is stored; see `connection`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from nexthos_shared.nats import wire as nats_wire
from nexthos_shared.nats.login import Unusable, jwt_of, login_of, pair_of
from nexthos_shared.nats.skips import Skips
from nexthos_shared.nats.subjects import (
    ACK,
    Unguessable,
    check_literal,
    check_printable,
    is_control,
    readable,
)

# Of messages of a stream: what a consumer sends, and never an answer to anything.
ACKNOWLEDGEMENTS = frozenset({b"+ACK", b"-NAK", b"+WPI", b"+NXT", b"+TERM"})

log = structlog.get_logger(__name__)


class EnduringClient(Client):
    """See the module."""

    def __init__(self, skips: Skips) -> None:
        super().__init__()
        self._skips = skips
        self._nuid = Unguessable()
        self._stored = False  # what is being read now comes from a stream
        self._of_feed = False  # and to a watch's inbox
        self._by_url = False  # who we are stands in the servers' URLs

    async def _process_err(self, err_msg: str) -> None:
        # The server's word on credentials that were revoked or ran out, or on a payload that is too
        # large: nats-py closes for good. Reconnecting reads the credentials file again.
        if "permissions violation" in err_msg or not self.options["allow_reconnect"]:
            await super()._process_err(err_msg)
            return
        error = nats_errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _request_sub_callback(self, msg: Msg) -> None:
        # A pipeline that takes `>` acknowledges our requests too, and is faster than who is asked.
        if bytes(msg.data) not in ACKNOWLEDGEMENTS:
            await super()._request_sub_callback(msg)

    def _build_message(
        self,
        sid: int,
        subject: bytes,
        reply: bytes,
        data: bytes,
        headers: dict[str, str] | None,
    ) -> Any:
        # One key that is not UTF-8, put by anybody, ends nats-py's reading: connected, and deaf.
        if self._of_feed and not self._stored and not self._is_control_message(data, headers or {}):
            raise nats_errors.Error("nats: no message of a stream, and none about its consumer")
        # And so does the subject of a reply. In no inbox there is a U+FFFD.
        answerable = reply.decode(errors="replace").encode()
        return super()._build_message(sid, readable(subject), answerable, data, headers)

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        # So do headers that are none; and a message of a stream that is not counted comes again for ever.
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except Exception as error:
            log.debug("headers of a message can't be read", error=repr(error))
            return {}
        if found and "Nats-Sequence" in found:  # got from a stream: a status is its writer's word
            found.pop("Status", None)
            found.pop("Description", None)
        return found

    def _is_control_message(self, data: bytes, header: dict[str, str]) -> str | None:
        # Whoever writes `Status: 100` into a bucket would have us publish to a subject of their choice.
        return None if self._stored else super()._is_control_message(data, header)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        sub = self._subs.get(sid)
        self._stored = False
        self._of_feed = sub is not None and sub._jsi is not None
        if sub is not None and sub._jsi is not None:
            self._stored = subject != sub._subject.encode()
            if not (ACK.fullmatch(reply) if self._stored else is_control(reply, headers)):
                self._skip(subject, "somebody else than the server sent it to a watch's inbox")
                return
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except (OSError, nats_errors.ConnectionClosedError):
            raise  # of the connection, not of the message
        except Exception as error:
            self._skip(subject, f"it can't be handled ({type(error).__name__})")

    def _skip(self, subject: bytes, why: str) -> None:
        told = readable(subject).decode()
        if self._skips.note(told, 0, why):
            log.warning("a message is passed over", subject=told, because=why)

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: Any
    ) -> None:
        # The last place before the wire, whoever made the subject of what others wrote.
        check_literal(subject)
        if reply:
            check_literal(reply)
        await super()._send_publish(subject, reply, payload, payload_size, headers)

    async def _send_subscribe(self, sub: Subscription) -> None:
        for word in (sub._subject, sub._queue or "-"):
            check_printable(word)
        await super()._send_subscribe(sub)

    async def _process_pong(self) -> None:
        # The answer to a flush that was given up ends nats-py's reading, too.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def request(self, *arguments: Any, **more: Any) -> Msg:
        """See nats-py. A cancellation is never lost."""
        with _cancelled_for_good():
            return await super().request(*arguments, **more)

    async def flush(self, *arguments: Any, **more: Any) -> None:
        """See nats-py. A cancellation is never lost."""
        with _cancelled_for_good():
            await super().flush(*arguments, **more)

    def _setup_nkeys_connect(self) -> None:
        # Read anew for each connection: the file may hold another key by then.
        file = Path(str(self._user_credentials or self._nkeys_seed))
        if self._user_credentials is not None:
            self._user_jwt_cb = lambda: jwt_of(file)
        self._public_nkey = pair_of(file).public_key.decode()
        self._signature_cb = lambda nonce: base64.b64encode(pair_of(file).sign(nonce.encode()))

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except OSError as error:
            if (said := nats_wire.last_words(self._transport)) is None:
                raise
            raise nats_errors.Error(f"nats: {said}") from error

    def _connect_command(self) -> bytes:
        try:
            if self._user_credentials is not None or self._nkeys_seed is not None:
                self._setup_nkeys_connect()
            elif self._by_url and self._current_server is not None:
                # A server that others of its cluster told of has none in its URL: as the last one did.
                self.options |= login_of(self._current_server.uri.geturl())
            return super()._connect_command()
        except (OSError, nats_errors.Error):
            raise
        except Exception as error:  # one of another kind would end nats-py's reconnecting
            raise Unusable(f"nats: {type(error).__name__}") from error

    async def connect(self, *arguments: Any, **more: Any) -> None:
        """See nats-py."""
        self._by_url = not (more.get("user") or more.get("token"))
        await super().connect(*arguments, **more)


@contextmanager
def _cancelled_for_good() -> Iterator[None]:
    """Let no cancellation be lost inside.

    `asyncio.wait_for` of Python 3.11 gives its result instead, where both come at once: whoever
    cancelled the task and waits for its end would wait for ever.
    """
    task = asyncio.current_task()
    cancelling = task.cancelling() if task else 0
    yield
    if task is not None and task.cancelling() > cancelling:
        raise asyncio.CancelledError
