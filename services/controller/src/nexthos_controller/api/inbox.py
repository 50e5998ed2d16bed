"""Reply inboxes: where a streamed answer's messages go, and whether somebody still waits for an answer.

NATS tells whoever sends a request at once if nobody listens on its subject. So a message that must not
be sent in vain is a request itself, and its answer says that the lines before it were taken.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from nexthos_controller.api.endpoint import ReaderGone
from nexthos_shared.model import LOGS_MESSAGE_BYTES
from nexthos_shared.nats.connection import room_of

ANSWER_WITHIN = 1.0  # seconds until we look whether a reader that takes its time is still there
GIVE_UP = 600.0  # seconds after which one that listens and does not answer any more is gone
UNHEARD = 5.0  # seconds between looks whether somebody waits for an answer
FLUSH_EVERY = 512 * 1024  # bytes: more are not handed over before the server has taken them
FLUSH_WITHIN = 10  # seconds

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Inbox:
    """The `Outlet` of one request."""

    nc: Client
    subject: str
    _answers: bool = False  # once it has answered, it is waited for
    _unflushed: int = 0

    @property
    def most(self) -> int:
        """See Outlet."""
        return room_of(self.nc, LOGS_MESSAGE_BYTES)

    async def send(self, body: bytes) -> None:
        """See Outlet."""
        try:
            await self.nc.publish(self.subject, body)
            self._unflushed += len(body)
            if self._unflushed > FLUSH_EVERY:
                self._unflushed = 0
                await self.nc.flush(FLUSH_WITHIN)
                _mind_cancellation()
        except (NatsError, TimeoutError, OSError) as error:
            raise ReaderGone(str(error)) from error

    async def ask(self, body: bytes, probe: bytes) -> None:
        """See Outlet. Answers come in order, so one to a probe speaks of what was sent before it."""
        deadline = asyncio.get_running_loop().time() + GIVE_UP
        while not await self._answered(body):
            if not self._answers:
                return  # such as `nats request`, which listens and does not answer
            if asyncio.get_running_loop().time() > deadline:
                raise ReaderGone(f"no answer within {GIVE_UP:.0f} s")
            body = probe

    async def _answered(self, body: bytes) -> bool:
        try:
            await self.nc.request(self.subject, body, timeout=ANSWER_WITHIN)
        except TimeoutError:
            return False
        except (NatsError, OSError) as error:
            raise ReaderGone(str(error)) from error
        _mind_cancellation()
        self._answers = True
        return True

    async def end(self, headers: Mapping[str, str]) -> None:
        """See Outlet."""
        try:
            await self.nc.publish(self.subject, b"", headers=dict(headers))
        except (NatsError, TimeoutError, OSError) as error:
            log.debug("end of a stream not sent", error=str(error))


@dataclass(frozen=True, slots=True)
class Asking:
    """The `Asker` of one request.

    What is sent to the reply subject itself would be taken for the answer. But clients listen to all
    their replies by one subscription, `_INBOX.abc.*`, and pass over what they did not ask for: so we
    send to another token of it. One that listens to this one reply alone counts as gone.
    """

    nc: Client
    reply: str  # empty: nobody waits

    async def left(self) -> None:
        """See Asker."""
        while await self._waits():
            pass

    async def _waits(self) -> bool:
        await asyncio.sleep(UNHEARD)
        if not self.reply:
            return False
        beside = f"{self.reply.rpartition('.')[0]}.{secrets.token_hex(12)}"
        try:
            await self.nc.request(beside, b"", timeout=ANSWER_WITHIN)
        except NoRespondersError:
            return False
        except (NatsError, TimeoutError, OSError):
            return True  # it listens, and says nothing, as it should
        return True


def _mind_cancellation() -> None:
    """Raise if this task is to end.

    nats-py waits by `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes at
    the same moment as the answer: a controller that stops would wait for its readers in vain.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
