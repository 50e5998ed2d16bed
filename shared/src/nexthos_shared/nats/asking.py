"""Questions that may be asked twice, because a server that has just ended answers nobody.

In a cluster a request that reached a server at its end, or a stream while its copies elect a leader, is
lost: nobody says so. Waiting 5 s for its answer, as nats-py does, made a change wait for 10 s that could
have been acted upon at once. So it is asked again sooner, and each time a bit later: a server that is
merely slow is not asked much more often than once.

A controller looks again by itself, so it is told at once that NATS is away. A command has until its
`--timeout` (`Link.until`), and goes on over a lost connection and an election until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors

from nexthos_shared.errors import StoreUnavailable
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.errors import door

FIRST = 0.5  # seconds for the first answer
GROWTH = 1.4  # of the time for each further one
MOST = 5.0  # seconds for each
IN_ALL = 5.0  # seconds, where nobody said how long
IN_PROCESS = 10158  # the same message is being stored just now
AGAIN = 0.05  # seconds

T = TypeVar("T")
log = structlog.get_logger(__name__)


async def asked(
    link: Link, what: str, stream: str, question: Callable[[float], Awaitable[T]], subject: str = ""
) -> T:
    """The answer to `question`, which is called with the seconds that it may take.

    It must be one that may be asked twice: a read, a write that the server knows by its `Nats-Msg-Id`, or
    one that changes nothing the second time. The other arguments are those of `door`, and so is what is
    raised: what passes by itself is raised when the time is up.
    """
    loop = asyncio.get_running_loop()
    deadline, within = loop.time() + link.time_for(IN_ALL), FIRST
    while True:
        if link.until is not None:
            await link.connected(deadline)
        left = max(deadline - loop.time(), AGAIN)
        try:
            async with door(link, what, stream, subject):
                return await question(min(within, left))
        except StoreUnavailable as error:
            silent = _is_silence(error.__cause__)
            if not error.passes or (link.until is None and not silent):
                raise
            if left <= (within if link.until is None else AGAIN):
                raise
            if not silent:
                link.tell_once(f"waiting: {error}")
                await asyncio.sleep(AGAIN)
        within = min(within * GROWTH, MOST)


def _is_silence(error: BaseException | None) -> bool:
    """Whether that is no answer at all, or that the same is being stored just now."""
    if isinstance(error, js_errors.APIError):
        return error.err_code == IN_PROCESS
    return isinstance(error, TimeoutError | nats_errors.TimeoutError)
