"""Places: which ones statuses speak of, who lives there, and which were declared gone for good.

Comes in: statuses, and the control bucket. A place is gone only when somebody says so: a machine that
does not answer may come back, and what lived there with it.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nexthos_shared.model import ConditionType, Phase, PipelineStatus
from nexthos_shared.model.control import Abandonment, read_abandonment
from nexthos_shared.model.entries import read_status
from nexthos_shared.model.stored import encode
from nexthos_shared.names import ABANDONED

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry, Store


@dataclass(frozen=True, slots=True)
class Resident:
    """A pipeline that has, or may have, executions at a place."""

    id: str
    phase: Phase
    executions: tuple[str, ...]  # those that are known
    silent: bool  # some place of it does not answer the controller


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A place that was declared gone."""

    place: str
    by: str
    at: float  # seconds since the epoch
    revision: int


def places_of(status: PipelineStatus) -> set[str]:
    """Where executions of a pipeline are, or may be."""
    seen = {e.place for e in status.executions}
    remembered = {p.place for p in status.memory.places}
    slots = {slot.place for slot in status.memory.slots.values()}
    return {place for place in seen | remembered | slots if place}


def residents(statuses: Iterable[KvEntry]) -> dict[str, list[Resident]]:
    """The pipelines by place, both sorted."""
    found: dict[str, list[Resident]] = {}
    for stored in sorted(statuses, key=lambda s: s.key):
        if (status := read_status(stored)) is None:
            continue
        reachable = status.condition(ConditionType.REACHABLE)
        silent = reachable is not None and reachable.status == "False"
        for place in places_of(status):
            there = tuple(e.name for e in status.executions if e.place == place)
            found.setdefault(place, []).append(Resident(stored.key, status.phase, there, silent))
    return dict(sorted(found.items()))


def control_key(place: str) -> str:
    """The key of the control bucket that says that a place is gone."""
    return f"{ABANDONED}{place}"


def declaration() -> bytes:
    """Its value: who says so, and when."""
    return encode(Abandonment(by=f"{_user()}@{socket.gethostname()}", at=time.time()))


def _user() -> str:
    with contextlib.suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return "somebody"


def read_abandoned(stored: KvEntry | None) -> Abandoned | None:
    """What an entry of the control bucket declares; None if it declares nothing, or nothing any more."""
    if stored is None or stored.value is None or not stored.key.startswith(ABANDONED):
        return None
    said = read_abandonment(stored.value)
    return Abandoned(
        place=stored.key.removeprefix(ABANDONED),
        by=said.by,
        at=stored.created if said.at is None else said.at,
        revision=stored.revision,
    )


async def all_abandoned(store: Store) -> list[Abandoned]:
    """Every place that is declared gone."""
    found = [read_abandoned(stored) for stored in await store.control.snapshot()]
    return [one for one in found if one is not None]
