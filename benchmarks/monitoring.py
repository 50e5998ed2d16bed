"""What a nats-server says of itself: what a connection has sent and got, what streams hold.

Comes in: the URL of its monitoring. Goes out: counts since the server started; whoever wants what happened
in a while takes the difference of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

EVERY_CONNECTION = 100_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one namespace's controller."""

    consumers: int  # at this moment
    sent: int  # messages of its connections
    got: int
    sent_bytes: int
    got_bytes: int
    stored: int  # messages written to the streams of its store

    def since(self, before: Traffic) -> Traffic:
        """What came in between; consumers are those of now."""
        return Traffic(
            self.consumers,
            self.sent - before.sent,
            self.got - before.got,
            self.sent_bytes - before.sent_bytes,
            self.got_bytes - before.got_bytes,
            self.stored - before.stored,
        )

    @property
    def messages(self) -> int:
        """Either way."""
        return self.sent + self.got

    @property
    def bytes(self) -> int:
        """Either way, without what the protocol adds."""
        return self.sent_bytes + self.got_bytes


async def traffic(monitor: str, namespace: str) -> Traffic:
    """What the controller of a namespace has caused so far. Raises RuntimeError if it is not connected."""
    async with aiohttp.ClientSession(monitor) as http:
        connections = await _ask(http, f"/connz?limit={EVERY_CONNECTION}")
        jetstream = await _ask(http, "/jsz?accounts=true&streams=true")
    names = (f"{namespace} controller", f"{namespace} lease")
    ours = [c for c in connections["connections"] if c.get("name") in names]
    if not ours:
        raise RuntimeError(f"no controller of {namespace} is connected")
    streams = [
        stream["state"]
        for account in jetstream["account_details"]
        for stream in account.get("stream_detail", ())
        if stream["name"].removeprefix("KV_").removeprefix("OBJ_").startswith(f"{namespace}-")
    ]
    return Traffic(
        consumers=sum(s["consumer_count"] for s in streams),
        sent=sum(c["in_msgs"] for c in ours),  # the server's view: what comes in was sent to it
        got=sum(c["out_msgs"] for c in ours),
        sent_bytes=sum(c["in_bytes"] for c in ours),
        got_bytes=sum(c["out_bytes"] for c in ours),
        stored=sum(s["last_seq"] for s in streams),
    )


async def _ask(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with http.get(path) as reply:
        reply.raise_for_status()
        return dict(await reply.json())
