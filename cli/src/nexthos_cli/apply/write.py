"""Writing changes: the configuration object first, then the entry, by compare-and-set.

Comes in: changes that were planned. Goes out: revisions. A write that lost against another writer is
planned anew from what is stored then, so nothing is overwritten unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from nexthos_shared.errors import NexthosError, Refused, StoreConflict
from nexthos_shared.manifest.manifest import Manifest
from nexthos_shared.plan.change import Change, decide, revisions_of, undone
from nexthos_shared.reasons import Problem

if TYPE_CHECKING:
    from nexthos_shared.store import Store

T = TypeVar("T")
R = TypeVar("R")
AT_ONCE = 16
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Written:
    """A change as it was written in the end, and the entry's revision."""

    change: Change
    revision: int


async def plan_all(
    store: Store, manifests: Sequence[Manifest]
) -> tuple[list[Change], list[Problem]]:
    """Plans in the given order, and every refusal."""
    problems: list[Problem] = []

    async def one(manifest: Manifest) -> Change | None:
        try:
            return await plan(store, manifest)
        except Refused as refused:
            problems.extend(refused.problems)
            return None

    plans = await in_parallel(one, manifests)
    return [p for p in plans if p is not None], problems


async def write_all(store: Store, changes: Sequence[Change]) -> tuple[list[Written], list[Problem]]:
    """Write all of them; what failed does not keep the others from being written and told."""
    problems: list[Problem] = []

    async def one(change: Change) -> Written | None:
        try:
            return await write(store, change)
        except Refused as refused:
            problems.extend(refused.problems)
        except NexthosError as error:
            problems.append(error.problem)
        return None

    written = await in_parallel(one, changes)
    return [w for w in written if w is not None], problems


async def write(store: Store, change: Change) -> Written:
    """Make it so. Raises Refused if a plan made anew refuses, StoreConflict if it never wins."""
    for _ in range(ATTEMPTS):
        try:
            return Written(change, await _write_once(store, change))
        except StoreConflict:
            change = await plan(store, change.manifest)
    raise StoreConflict(f"pipeline {change.manifest.id}: too many concurrent writes; try again")


async def _write_once(store: Store, change: Change) -> int:
    content, version = change.manifest.content, change.pipeline.version
    if change.put_config and content is not None and version is not None:
        await store.configs.put(change.manifest.id, version, content)
    if change.action == "unchanged" or (change.action == "configured" and not _differs(change)):
        return change.based_on
    return await store.pipelines.update(change.manifest.id, change.entry, change.based_on)


def _differs(change: Change) -> bool:
    return bool(change.differences or change.notes)


async def in_parallel(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Results in order, a bounded number at once; the first error ends it."""
    bound = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> R:
        async with bound:
            return await work(item)

    return list(await asyncio.gather(*(one(item) for item in items)))


async def plan(store: Store, manifest: Manifest) -> Change:
    """Look at the store and decide. Raises Refused."""
    stored = await store.pipelines.get(manifest.id)
    version = manifest.fields.get("version")
    info = await store.configs.info(manifest.id, str(version)) if version else None
    change = decide(manifest, stored, info)
    if {d.field for d in change.differences} & {"status", "version", "replicas"}:
        history = await store.pipelines.history(manifest.id)
        change = replace(change, notes=tuple(undone(revisions_of(history), change.pipeline)))
    return change
