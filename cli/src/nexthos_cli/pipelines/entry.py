"""Changing fields of a stored entry, leaving everything else of it as its writer wrote it.

Comes in: a key and what is wanted. Goes out: the revision. It works on the raw JSON, so fields that this
version does not know survive, and by compare-and-set, so nobody's write is lost.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nexthos_shared.errors import ConfigMissing, InvalidDefinition, NotFound, StoreConflict
from nexthos_shared.model import Wanted
from nexthos_shared.names import check_version
from nexthos_shared.untrusted_json import read_json

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry, Store

ATTEMPTS = 10
Raw = dict[str, Any]
Change = Callable[["Store", str, Raw], Awaitable[Raw]]  # the fields to set, by name


class NotRunning(InvalidDefinition):
    """Nothing of the pipeline is there to be restarted, as its entry wants it."""


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
        entry = understood(key, stored)
        changed = entry | await change(store, key, entry)
        assert stored is not None
        now, wanted = changed.get("version"), _wanted(changed)
        if changed == entry:
            return Rewritten(stored.revision, False, now, wanted)
        try:
            revision = await store.pipelines.update(key, to_bytes(changed), stored.revision)
        except StoreConflict:
            continue
        return Rewritten(revision, True, now, wanted)
    raise StoreConflict(f"pipeline {key!r}: too many concurrent writes; try again")


def to_bytes(entry: Raw) -> bytes:
    """An entry as it is stored."""
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()


def set_status(wanted: Wanted, version: str | None = None) -> Change:
    """Another status, and another version if one is named. Raises InvalidName; then ConfigMissing."""
    if version is not None:
        check_version(version)

    async def change(store: Store, key: str, entry: Raw) -> Raw:
        fields: Raw = {"status": str(wanted)}
        if version is not None:
            fields |= await _at_version(store, key, entry, version)
        if wanted is Wanted.PUBLISHED and not (entry | fields).get("version"):
            words = f"pipeline {key!r}: the entry names no version: publish it with --version"
            raise InvalidDefinition(words, field="version")
        return fields

    return change


def set_replicas(replicas: int) -> Change:
    """Another number of replicas. Raises InvalidDefinition for a job, which has one."""

    async def change(_: Store, key: str, entry: Raw) -> Raw:
        if replicas > 1 and entry.get("lifecycle") == "job":
            words = (
                f"pipeline {key!r}: replicas: a job has one replica, since two would each do the whole "
                "work; set `lifecycle: service`, or split the work into several jobs"
            )
            raise InvalidDefinition(words, field="replicas")
        if replicas == entry.get("replicas", 1):
            return {}
        return {"replicas": replicas}

    return change


async def raise_nonce(_: Store, key: str, entry: Raw) -> Raw:
    """A `restart_nonce` that was never there: another spec, so what runs is replaced, what is held tried.

    Raises NotRunning, InvalidDefinition.
    """
    if remark := _not_running(key, entry):
        raise NotRunning(f"pipeline {key!r}: {remark}", field="status")
    nonce = entry.get("restart_nonce", 0)
    if not isinstance(nonce, int) or isinstance(nonce, bool) or nonce < 0:
        words = (
            f"pipeline {key!r}: restart_nonce: is {nonce!r}, must be 0 or a greater whole number"
        )
        raise InvalidDefinition(words, field="restart_nonce")
    return {"restart_nonce": nonce + 1}


def _not_running(key: str, entry: Raw) -> str:
    """Why nothing of an entry is there to be restarted, and what to do; "" if it is published."""
    match _wanted(entry):
        case Wanted.PUBLISHED:
            return ""
        case Wanted.PAUSED:
            return (
                f"is paused, so there is nothing to restart: `nexthos publish {key}` lets it go on"
            )
        case Wanted.DRAFT:
            return f"is a draft, so there is nothing to restart: `nexthos publish {key}` starts it"
        case _:
            words = "has a status that is not understood, so nothing is restarted"
            return f"{words}: `nexthos publish {key}` sets it"


def _wanted(entry: Raw) -> Wanted | None:
    status = entry.get("status")
    return Wanted(status) if status in list(Wanted) else None


def understood(key: str, stored: KvEntry | None) -> Raw:
    """The raw entry. Raises NotFound, InvalidDefinition."""
    if stored is None or stored.value is None:
        raise NotFound(f"no pipeline {key!r} is stored")
    entry = read_json(stored.value)
    if entry is None:
        words = f"pipeline {key!r}: the stored entry is not JSON; put it again with `nexthos apply`"
        raise InvalidDefinition(words)
    if not isinstance(entry, dict):
        words = f"pipeline {key!r}: the stored entry is no JSON object; put it again with `nexthos apply`"
        raise InvalidDefinition(words)
    return entry


async def _at_version(store: Store, key: str, entry: Raw, version: str) -> Raw:
    """The version, and its digest where the entry pins one: the old digest would refuse it."""
    info = await store.configs.info(key, version)
    if info is None:
        stored = [c.version for c in await store.configs.list(key)]
        known = f"; stored are {', '.join(stored[-5:])}" if stored else ""
        raise ConfigMissing(f"no configuration {key}/{version} is stored{known}")
    return {"version": version} | ({"digest": info.digest} if entry.get("digest") else {})
