"""Changing fields of a stored entry by compare-and-set, so nobody's write is lost.

Comes in: a key and a change (`nexthos_shared.plan.edit`). Goes out: the revision.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nexthos_shared.errors import ConfigMissing, StoreConflict
from nexthos_shared.model import Wanted
from nexthos_shared.names import check_version
from nexthos_shared.plan import edit
from nexthos_shared.plan.edit import Raw, read_raw, to_bytes, wanted_of

if TYPE_CHECKING:
    from nexthos_shared.store import ConfigInfo, Store

ATTEMPTS = 10
Change = Callable[["Store", str, Raw], Awaitable[Raw]]  # the fields to set, by name


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What is stored now."""

    revision: int
    changed: bool
    version: str | None
    wanted: Wanted | None  # None: its status can't be understood


async def rewrite(store: Store, key: str, change: Change) -> Rewritten:
    """Compare-and-set what `change` says. Raises NotFound, InvalidDefinition, and what `change` raises."""
    for _ in range(ATTEMPTS):
        stored = await store.pipelines.get(key)
        entry = read_raw(key, stored.value if stored else None)
        changed = entry | await change(store, key, entry)
        assert stored is not None
        now, wanted = changed.get("version"), wanted_of(changed)
        if changed == entry:
            return Rewritten(stored.revision, False, now, wanted)
        try:
            revision = await store.pipelines.update(key, to_bytes(changed), stored.revision)
        except StoreConflict:
            continue
        return Rewritten(revision, True, now, wanted)
    raise StoreConflict(f"pipeline {key!r}: too many concurrent writes; try again")


def set_status(wanted: Wanted, version: str | None = None) -> Change:
    """Another status, and another version if one is named. Raises InvalidName; then ConfigMissing."""
    if version is not None:
        check_version(version)

    async def change(store: Store, key: str, entry: Raw) -> Raw:
        config = await _config(store, key, version) if version is not None else None
        return edit.status(key, entry, wanted, config)

    return change


def set_replicas(replicas: int) -> Change:
    """Another number of replicas. Raises InvalidDefinition for a job, which has one."""

    async def change(_: Store, key: str, entry: Raw) -> Raw:
        return edit.replicas(key, entry, replicas)

    return change


async def raise_nonce(_: Store, key: str, entry: Raw) -> Raw:
    """Another `restart_nonce`. Raises NotRunning, InvalidDefinition."""
    return edit.restart(key, entry)


async def _config(store: Store, key: str, version: str) -> ConfigInfo:
    info = await store.configs.info(key, version)
    if info is None:
        stored = [c.version for c in await store.configs.list(key)]
        known = f"; stored are {', '.join(stored[-5:])}" if stored else ""
        raise ConfigMissing(f"no configuration {key}/{version} is stored{known}")
    return info
