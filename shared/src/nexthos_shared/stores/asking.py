"""Questions that may be asked twice, because a server that has just ended answers nobody.

In a cluster a request that reached a server at its end, or a stream while its copies elect a leader, is
lost: nobody says so. Waiting 5 s for its answer, as nats-py does, made a change wait for 10 s that could
have been acted upon at once. So it is asked again sooner, and each time a bit later: a server that is
merely slow is not asked much more often than once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nats import errors as nats_errors
from nats.js import errors as js_errors

FIRST = 0.5  # seconds for the first answer
GROWTH = 1.4  # of the time for each further one
IN_ALL = 5.0  # seconds
IN_PROCESS = 10158  # the same message is being stored just now
AGAIN = 0.05  # seconds

T = TypeVar("T")


async def asked(question: Callable[[float], Awaitable[T]]) -> T:
    """The answer to `question`, which is called with the seconds that it may take.

    It must be one that may be asked twice: a read, or a write that the server knows by its `Nats-Msg-Id`.
    Raises TimeoutError after 5 s in all, and what `question` raises but for that.
    """
    loop = asyncio.get_running_loop()
    deadline, within = loop.time() + IN_ALL, FIRST
    while True:
        left = deadline - loop.time()
        try:
            return await question(min(within, left))
        except (TimeoutError, nats_errors.TimeoutError):
            if left <= within:
                raise
        except js_errors.APIError as error:
            if error.err_code != IN_PROCESS or left <= within:
                raise
            await asyncio.sleep(AGAIN)
        within *= GROWTH
