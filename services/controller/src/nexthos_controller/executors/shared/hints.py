"""Hints that a pipeline should be looked at again, handed to everybody who listens.

Comes in: ids, from whatever an executor watches. Goes out: `AsyncIterator[str]`s for `events()`. An id
that waits to be read is not queued a second time, so a slow reader costs as much as there are ids.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Self


class Hints:
    """Who listens, and what each has not read yet."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._closed = False

    def add(self, pipeline_id: str) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            listener.push(pipeline_id)

    def listen(self) -> Listener:
        """Start listening now; what was said before is not repeated."""
        listener = Listener(self._listeners)
        self._listeners.add(listener)
        if self._closed:
            listener.end()
        return listener

    def close(self) -> None:
        """End every iterator, after what it has not read yet."""
        self._closed = True
        for listener in tuple(self._listeners):
            listener.end()


class Listener:
    """One reader's iterator of ids."""

    def __init__(self, registry: set[Listener]) -> None:
        self._registry = registry
        self._pending: OrderedDict[str, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._ended = False

    def push(self, pipeline_id: str) -> None:
        """Let it be read, once."""
        self._pending[pipeline_id] = None
        self._wake.set()

    def end(self) -> None:
        """Let the iteration end, after what has not been read yet."""
        self._ended = True
        self._registry.discard(self)
        self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._pending:
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._pending.popitem(last=False)[0]

    async def aclose(self) -> None:
        """As of a generator: nothing more is wanted."""
        self.end()
