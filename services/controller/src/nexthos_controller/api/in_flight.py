"""The line before one endpoint: how many of its requests are answered at once, and how many wait.

Comes in: requests. Goes out: tasks that serve them, in order. Each endpoint has a line of its own, so that
a flood before one never silences another. Knows nothing of what is served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from nats.micro.request import Request

from nexthos_controller.api.endpoint import Endpoint

WAITING_BYTES = 16 * 1024 * 1024  # of requests that wait before one endpoint


@dataclass(slots=True)
class Line:
    """Serves what it takes; who is not taken is told to come again."""

    endpoint: Endpoint
    serve: Callable[[Endpoint, Request], Coroutine[Any, Any, None]]
    served: set[asyncio.Task[None]] = field(default_factory=set)
    _waiting: deque[Request] = field(default_factory=deque)
    _bytes: int = 0

    def take(self, request: Request) -> bool:
        """Whether it is served, now or later."""
        if len(self.served) < self.endpoint.at_once:
            self._begin(request)
            return True
        size = len(request.data)
        if len(self._waiting) >= self.endpoint.waiting or self._bytes + size > WAITING_BYTES:
            return False
        self._waiting.append(request)
        self._bytes += size
        return True

    def end(self) -> None:
        """Forget those that wait, and cancel what is served."""
        self._waiting.clear()
        self._bytes = 0
        for task in self.served:
            task.cancel()

    def _begin(self, request: Request) -> None:
        task = asyncio.create_task(self.serve(self.endpoint, request))
        self.served.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.served.discard(task)
        if self._waiting:
            request = self._waiting.popleft()
            self._bytes -= len(request.data)
            self._begin(request)
