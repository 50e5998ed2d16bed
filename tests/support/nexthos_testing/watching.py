"""A watch that is read beside the test, and what it brought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nexthos_shared.store.watch import Change, Snapshot
from nexthos_testing.wait import eventually


class Seen:
    """What a watch brought, and the bucket as its reader knows it."""

    def __init__(self) -> None:
        self.items: list[Snapshot[Any] | Change[Any]] = []
        self.now: dict[str, Any] = {}

    def take(self, item: Snapshot[Any] | Change[Any]) -> None:
        self.items.append(item)
        if isinstance(item, Snapshot):
            self.now = {name(e): e for e in item.entries}
        else:
            self.now[name(item.entry)] = item.entry

    @property
    def snapshots(self) -> list[Snapshot[Any]]:
        return [i for i in self.items if isinstance(i, Snapshot)]

    def has(self, key: str, revision: int) -> bool:
        return bool(self.now[key].revision == revision)

    def values(self) -> dict[str, bytes | None]:
        return {key: entry.value for key, entry in self.now.items()}


def name(entry: Any) -> str:
    return entry.key if hasattr(entry, "key") else f"{entry.id}/{entry.version}"


@asynccontextmanager
async def watching(
    items: AsyncGenerator[Snapshot[Any] | Change[Any], None],
) -> AsyncIterator[Seen]:
    """Iterate for ever beside the test, and end by cancellation."""
    seen = Seen()

    async def take_all() -> None:
        async for item in items:
            seen.take(item)

    task = asyncio.create_task(take_all())
    try:
        await eventually(lambda: seen.snapshots or task.done())
        assert not task.done(), task.exception()
        yield seen
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
