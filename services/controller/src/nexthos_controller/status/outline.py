"""A status in brief: what is asked of all of them again and again, so that it is kept of each.

Comes in: a status as it is understood, or its bytes, of which only these fields are read then, in a quarter
of the time that all of it takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, WrapValidator

from nexthos_controller.cache.executions import Whereabouts, whereabouts_of
from nexthos_shared.model import Accepted, Phase, PipelineStatus, Place, Wanted
from nexthos_shared.model.entries import read_model
from nexthos_shared.model.quantities import Count
from nexthos_shared.model.status import Stored, or_the_current_one
from nexthos_shared.names import ENV_NATS_URL

TROUBLES = ("Erroring", "NotDelivering")


@dataclass(frozen=True, slots=True)
class Broker:
    """A NATS that a configuration talks to: a URL of its own, or a connection's."""

    url: str  # empty: the connection's
    connection: str


@dataclass(frozen=True, slots=True)
class Outline:
    """A status in brief."""

    phase: Phase
    ready: int
    replicas: int
    restarts: int
    drifts: int
    whereabouts: Whereabouts
    good: tuple[str, str] | None  # version and digest that were good last
    brokers: tuple[Broker, ...]
    troubles: tuple[str, ...] = ()  # types of conditions that tell of failing messages


class _Definition(Stored):
    version: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    connection: str = "default"


class _Traits(Stored):
    uses_nats: bool = False


class _Accepted(Stored):
    digest: str
    definition: _Definition
    traits: _Traits | None = None


class _Memory(Stored):
    wanted: Wanted | None = None
    current: _Accepted | None = None
    last_good: Annotated[_Accepted | None, WrapValidator(or_the_current_one)] = None
    places: list[Place] = Field(default_factory=list)


class _Told(Stored):
    type: str = ""
    status: str = ""


class _Glance(Stored):
    """Of a PipelineStatus, what an outline is made of."""

    phase: Phase
    ready: Count = 0
    replicas: Count = 0
    restarts: Count = 0
    drifts: Count = 0
    conditions: list[_Told] = Field(default_factory=list)
    memory: _Memory = Field(default_factory=_Memory)


def read_outline(value: bytes) -> Outline | None:
    """The outline of the status in these bytes; None if they are none."""
    glance = read_model(_Glance, value)
    return outline_of(glance) if glance is not None else None


def outline_of(status: PipelineStatus | _Glance) -> Outline:
    """The status in brief."""
    memory = status.memory
    good = memory.last_good
    return Outline(
        phase=status.phase,
        ready=status.ready,
        replicas=status.replicas,
        restarts=status.restarts,
        drifts=status.drifts,
        whereabouts=whereabouts_of(memory),
        good=_named(good) if good else None,
        brokers=tuple(_brokers(memory.current, good)),
        troubles=tuple(
            c.type for c in status.conditions if c.type in TROUBLES and c.status == "True"
        ),
    )


def _named(accepted: Accepted | _Accepted) -> tuple[str, str]:
    return sys.intern(accepted.definition.version or ""), sys.intern(accepted.digest)


def _brokers(*accepted: Accepted | _Accepted | None) -> Iterable[Broker]:
    for one in accepted:
        if one is not None and one.traits is not None and one.traits.uses_nats:
            yield Broker(one.definition.env.get(ENV_NATS_URL, ""), one.definition.connection)
