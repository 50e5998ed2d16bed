"""The controller's own answer to runners, over a store, for tests that have no controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import Counter

from nexthos_controller.api.config_parts import Handout
from nexthos_controller.api.endpoint import Endpoint
from nexthos_controller.api.service import Service
from nexthos_controller.runtime.replies import Replies
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store


@dataclass(frozen=True)
class Alone:
    """An offer of nothing else."""

    handout: Handout

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (self.handout.endpoint,)


@asynccontextmanager
async def handing_out(options: ConnectOptions, namespace: str) -> AsyncIterator[Handout]:
    """The endpoint `config` of that namespace, on a connection of its own. The buckets may come later."""
    async with connect(options, name="controller", daemon=False) as link:
        store = Store.of(link, Names(namespace))
        handout = Handout(store.configs)
        dropped = Counter("replies_dropped", "Replies to what is no inbox", registry=None)
        replies = Replies((link,), store.names, dropped)
        told = {"namespace": namespace}
        async with Service(link.nc, store.names, Alone(handout), "0.1.0", told, replies):
            await link.nc.flush()  # its subscriptions have reached the server
            yield handout
