"""A contender in a process of its own, to be frozen and killed: it only asks `guard`, and writes down
when each call compared the clock.

A line of the journal: `pass <boot time> <token>` or `refused <boot time>`.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from nexthos_controller.election.lease import Lease, boottime
from nexthos_shared.errors import LeaseLost
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import connect
from nexthos_shared.store import Store
from nexthos_testing.guarded import options_for

EVERY = 0.002  # seconds between two effects


class Watch:
    """A clock that knows what it said last."""

    said = 0.0

    def __call__(self) -> float:
        self.said = boottime()
        return self.said


async def act(lease: Lease, watch: Watch, write: Callable[[str], object]) -> None:
    refused = True
    while True:
        try:
            lease.guard()
        except LeaseLost:
            if not refused:
                write(f"refused {watch.said}\n")
            refused = True
        else:
            write(f"pass {watch.said} {lease.token}\n")
            refused = False
        await asyncio.sleep(EVERY)


async def main(url: str, namespace: str, holder: str, ttl: float, journal: Path) -> None:
    watch = Watch()
    async with connect(options_for(url, namespace), name=holder, daemon=True) as link:
        store = await Store.open(link, Names(namespace), create=True)
        lease = Lease(store.control, holder, ttl, watch)
        with journal.open("a", buffering=1) as file:
            acting = asyncio.create_task(act(lease, watch, file.write))
            while not acting.done():
                await lease.acquire()
                async with lease.kept():
                    await lease.lost.wait()
            await acting


url, namespace, holder, ttl, journal = sys.argv[1:]
asyncio.run(main(url, namespace, holder, float(ttl), Path(journal)))
