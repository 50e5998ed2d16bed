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

from nexthos_shared.model import ConditionType, Phase
from nexthos_shared.model.control import Abandonment, abandoned_place, read_abandonment
from nexthos_shared.model.entries import read_status
from nexthos_shared.model.stored import encode

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


def residents(statuses: Iterable[KvEntry]) -> dict[str, list[Resident]]:
    """The pipelines by place, both sorted."""
    found: dict[str, list[Resident]] = {}
    for stored in sorted(statuses, key=lambda s: s.key):
        if (status := read_status(stored)) is None:
            continue
        reachable = status.condition(ConditionType.REACHABLE)
        silent = reachable is not None and reachable.status == "False"
        for place in status.possible_places:
            there = tuple(e.name for e in status.executions if e.place == place)
            found.setdefault(place, []).append(Resident(stored.key, status.phase, there, silent))
    return dict(sorted(found.items()))


def declaration() -> bytes:
    """Its value: who says so, and when."""
    return encode(Abandonment(by=f"{_user()}@{socket.gethostname()}", at=time.time()))


def _user() -> str:
    with contextlib.suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return "somebody"


def read_abandoned(stored: KvEntry | None) -> Abandoned | None:
    """What an entry of the control bucket declares; None if it declares nothing, or nothing any more."""
    place = abandoned_place(stored.key) if stored is not None else None
    if stored is None or stored.value is None or place is None:
        return None
    said = read_abandonment(stored.value)
    return Abandoned(
        place=place,
        by=said.by,
        at=stored.created if said.at is None else said.at,
        revision=stored.revision,
    )


async def all_abandoned(store: Store) -> list[Abandoned]:
    """Every place that is declared gone."""
    found = [read_abandoned(stored) for stored in await store.control.snapshot()]
    return [one for one in found if one is not None]
