"""What the control bucket holds: the installation's id, the lease, and places declared gone.

One model for both sides: the controller writes the id and the lease, the CLI reads them and declares places.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from nexthos_shared.model.stored import Moment, Stored, always, doc, read
from nexthos_shared.names import ABANDONED

MOST_CLAIM = 4096  # bytes; ours has 300
_INSTALLATION = re.compile(rb"[0-9a-f]{12}")


def read_installation(value: bytes | None) -> str | None:
    """The installation's id, if it has the form of one: it becomes a part of paths and names."""
    return value.decode() if value is not None and _INSTALLATION.fullmatch(value) else None


class Claim(Stored, frozen=True, kw_only=True):
    """The lease: who acts, so that a standby can say so."""

    holder: Annotated[str, doc("the controller's name")]
    host: Annotated[str, doc("the machine that it runs on")]
    since: Annotated[Moment, doc("seconds since the epoch")]
    ttl: Annotated[float, Meta(gt=0, le=1e9), doc("seconds without a renewal until it ends")]
    life: Annotated[str, doc("random; two processes that took the same name differ in it")]
    process: Annotated[str, doc("which process it is, for others on the same system")] = always("")
    released: Annotated[bool, doc("its holder handed it over")] = always(False)


def read_claim(value: bytes | None) -> Claim | None:
    """The lease in the value of its key; None where there is none, or something put by hand."""
    return read(Claim, value, most=MOST_CLAIM)


def read_holder(value: bytes | None) -> Claim | None:
    """The same, if somebody has it: one that was released is nobody's."""
    claim = read_claim(value)
    return None if claim is None or claim.released else claim


class Abandonment(Stored, frozen=True, kw_only=True):
    """A place that somebody declared gone; the key names it."""

    by: Annotated[str, doc("who said so: user@host")] = always("somebody")
    at: Annotated[Moment | None, doc("seconds since the epoch")] = None


def abandoned_key(place: str) -> str:
    """The key that declares `place` gone."""
    return f"{ABANDONED}{place}"


def abandoned_place(key: str) -> str | None:
    """The place that `key` declares gone, if that is what it does."""
    return key.removeprefix(ABANDONED) if key.startswith(ABANDONED) else None


def read_abandonment(value: bytes | None) -> Abandonment:
    """Who declared a place gone. What was put by hand declares it, too: the key says what matters."""
    return read(Abandonment, value) or Abandonment()
