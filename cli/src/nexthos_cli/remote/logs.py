"""A pipeline's lines from the controller: one request, several messages, one end.

Comes in: a connection, a request. Goes out: messages as models, then the word with which they ended.
Each message that asks for an answer is answered when whoever iterates is done with it: so a reader
that is slow is waited for, and the controller knows that there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from nexthos_cli.errors import NotInTime, NotUnderstood
from nexthos_cli.remote.request import no_controller, refusal
from nexthos_shared.errors import NexthosError, NotPermitted, StoreUnavailable
from nexthos_shared.model import LOGS_END_HEADER, LOGS_HEARTBEAT, LogsLine, LogsReply, LogsRequest
from nexthos_shared.model.stored import decode
from nexthos_shared.names import Names
from nexthos_shared.nats.client import ACKNOWLEDGEMENTS
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.inboxes import is_inbox
from nexthos_shared.reasons import Problem, Reason

SILENCE = 3 * LOGS_HEARTBEAT  # seconds after which a controller that said nothing is gone


@dataclass(slots=True)
class LogReading:
    """`async with LogReading(...) as reading: async for reply in reading.replies(): ...`.

    Afterwards `end` says why that was all.
    """

    link: Link
    names: Names
    request: LogsRequest
    within: float  # seconds until the first message must be here
    end: str = ""
    _refused: list[str] = field(default_factory=list)
    _subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        nc, subject = self.link.nc, self.names.endpoint("logs")
        self.link.refusals.add(self._refused.append)
        await self.link.connected(asyncio.get_running_loop().time() + self.within)
        inbox = nc.new_inbox()
        try:
            self._subscription = await nc.subscribe(inbox)
            body = self.request.model_dump_json(exclude_none=True).encode()
            await nc.publish(subject, body, reply=inbox)
        except nats_errors.Error as error:
            raise StoreUnavailable(f"{subject}: {error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats_errors.Error):  # the connection may have ended it
                await self._subscription.unsubscribe()

    async def replies(self) -> AsyncIterator[LogsReply]:
        """Messages in order. Raises as `controller.ask`."""
        within = self.within
        while (message := await self._next(within)) is not None:
            if message.data in ACKNOWLEDGEMENTS:
                continue  # of a pipeline that takes every subject
            try:
                reply = decode(LogsReply, message.data)
            except ValueError as error:
                words = "the lines are not understood: another version of the controller?"
                raise NotUnderstood(words) from error
            yield reply
            # Whoever may answer for the controller names it, and it is sent with this user's rights.
            if is_inbox(message.reply, self.link.options.inbox_prefix):
                await self.link.nc.publish(message.reply, b"")
            within = SILENCE

    async def _next(self, within: float) -> Msg | None:
        """The next message with lines; None at the end."""
        assert self._subscription is not None
        try:
            message = await self._subscription.next_msg(timeout=within)
        except TimeoutError as error:
            raise self._silence(within) from error
        except nats_errors.Error as error:
            raise StoreUnavailable(f"{self.names.endpoint('logs')}: {error}") from error
        headers = message.headers or {}
        if headers.get("Status") == "503":
            raise no_controller(self.names)
        if code := headers.get("Nats-Service-Error-Code"):
            raise refusal(code, headers.get("Nats-Service-Error", ""), message.data)
        if end := headers.get(LOGS_END_HEADER):
            self.end = end
            return None
        return message

    def _silence(self, within: float) -> NexthosError:
        subject = self.names.endpoint("logs")
        if self._refused or self.link.deaf:
            asked_for = subject if subject.lower() in self._refused else None
            words = self.link.deaf or asked_for or self._refused[0]
            return NotPermitted(f"{subject}: NATS refuses {words}")
        words = f"{subject}: the controller said nothing for {within:g}s"
        return NotInTime([Problem(Reason.TIMED_OUT, words)])


@dataclass(slots=True)
class Since:
    """Lets lines through that are not older than `moment`; None: all.

    A line without a time belongs to the one before it: a stack trace to the error above it.
    """

    moment: float | None
    _young: set[str] = field(default_factory=set)  # executions whose last line was let through

    def lets(self, line: LogsLine) -> bool:
        """Whether this line is to be shown; to be asked of each, in order."""
        if self.moment is None:
            return True
        if line.time is not None and line.time >= self.moment:
            self._young.add(line.execution)
        elif line.time is not None:
            self._young.discard(line.execution)
        return line.execution in self._young
