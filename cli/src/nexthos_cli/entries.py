"""Changing one field of a stored entry, leaving everything else of it as its writer wrote it.

Comes in: a key and what is wanted. Goes out: the revision. It works on the raw JSON, so fields that this
version does not know survive, and by compare-and-set, so nobody's write is lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nexthos_shared.errors import ConfigMissing, InvalidDefinition, NotFound, StoreConflict
from nexthos_shared.models import Wanted

if TYPE_CHECKING:
    from nexthos_shared.stores import KvEntry, Store

ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What is stored now."""

    revision: int
    changed: bool
    version: str | None


async def set_status(
    store: Store, key: str, wanted: Wanted, *, version: str | None = None
) -> Rewritten:
    """Compare-and-set `status` (and `version`). Raises NotFound, InvalidDefinition, ConfigMissing."""
    for _ in range(ATTEMPTS):
        stored = await store.pipelines.get(key)
        entry = _understood(key, stored)
        changed = entry | {"status": str(wanted)}
        if version is not None:
            changed |= await _at_version(store, key, entry, version)
        if wanted is Wanted.PUBLISHED and not changed.get("version"):
            words = f"pipeline {key!r}: the entry names no version: publish it with --version"
            raise InvalidDefinition(words, field="version")
        assert stored is not None
        now = changed.get("version")
        if changed == entry:
            return Rewritten(stored.revision, False, now)
        try:
            value = json.dumps(changed, separators=(",", ":"), ensure_ascii=False).encode()
            return Rewritten(await store.pipelines.update(key, value, stored.revision), True, now)
        except StoreConflict:
            continue
    raise StoreConflict(f"pipeline {key!r}: others write it all the time; try again")


def _understood(key: str, stored: KvEntry | None) -> dict[str, Any]:
    if stored is None or stored.value is None:
        raise NotFound(f"no pipeline {key!r} is stored")
    try:
        entry = json.loads(stored.value)
    except (ValueError, RecursionError) as error:
        words = f"pipeline {key!r}: the stored entry is not JSON; put it again with `nexthos apply`"
        raise InvalidDefinition(words) from error
    if not isinstance(entry, dict):
        words = f"pipeline {key!r}: the stored entry is no JSON object; put it again with `nexthos apply`"
        raise InvalidDefinition(words)
    return entry


async def _at_version(
    store: Store, key: str, entry: dict[str, Any], version: str
) -> dict[str, Any]:
    """The version, and its digest where the entry pins one: the old digest would refuse it."""
    info = await store.configs.info(key, version)
    if info is None:
        stored = [c.version for c in await store.configs.list(key)]
        known = f"; stored are {', '.join(stored[-5:])}" if stored else ""
        raise ConfigMissing(f"no configuration {key}/{version} is stored{known}")
    return {"version": version} | ({"digest": info.digest} if entry.get("digest") else {})
