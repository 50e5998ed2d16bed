"""Who is to blame when a host dies, so that one bad stream does not end 249 others for ever.

Comes in: who lived in it. Goes out: for each whether the death is its own, and with how many it may share
its next host. Pure. The rule:

- A host that ends because somebody asked it to (SIGTERM) is nobody's doing.
- A host with one stream: its death is that stream's own crash. It is told as one, and the controller's
  backoff deals with it.
- A host with several: nothing in a Go panic, and nothing at all after a SIGKILL, names the stream. Each
  of them has ended by no doing of its own, as far as is known: its exit says `signalled`, so that it is
  started again at once and no crash is counted. But some are suspects. Those that began in the last
  seconds before the death are, if they are fewer than half; else all are.
- Suspects start again apart from all others, in parties. Where the host crashed, one of them did it: a
  party is the square root of their number. 250 suspects are 16 hosts of 16, of which one dies; 16 of them
  are alone then, and one crashes alone.
- Where the host was killed, most likely none did it, and 16 hosts would stay for as long as their streams
  run: a party is half of them. If it was one after all (it took all memory), its half dies too, and is
  16 parties then, as above. So a bad stream ends an innocent one twice at most by crashes, and thrice by
  kills (once more each with a cap above 256).
- A new version has another name and is no suspect: a new specification is a new chance. Whoever stores one
  bad version after the other ends its neighbours each time; they trust each other, or share no host.
- A host that does not answer any more, and is killed for it, is the doing of the stream that it was
  creating, if it was creating one: its end is that stream's own, and no other is a suspect. Were there
  several, they are the suspects. Was there none, it is as after any kill.
- A suspect that has run for ten minutes is none any more: its next start is among all others, and others
  may join its host.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

YOUNG = 5.0  # seconds of life before a death that make a suspect
SMALL = 16  # as many suspects are each alone the next time
CLEARED = 600.0  # seconds of life that clear one; as reconcile's HEALTHY_AFTER


@dataclass(frozen=True, slots=True)
class Inmate:
    """A stream that lived in a host when that died."""

    name: str
    party: int  # 0: never suspected
    age: float  # seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one: `own`: the death is its own; `party` of its next host."""

    own: bool
    party: int


def judge(inmates: Sequence[Inmate], killed: bool) -> dict[str, Verdict]:
    """By name. `killed`: by a SIGKILL, which may be nobody's doing."""
    if len(inmates) == 1:
        [one] = inmates
        return {one.name: Verdict(True, 1)}
    young = [i for i in inmates if i.age < YOUNG]
    suspects = young if 0 < 2 * len(young) < len(inmates) else list(inmates)
    blamed = {i.name: _next(i, len(suspects), killed) for i in suspects}
    return {i.name: Verdict(False, blamed.get(i.name, party_of(i))) for i in inmates}


def judge_silent(inmates: Sequence[Inmate], asked: Collection[str] | None) -> dict[str, Verdict]:
    """By name, where the host was killed because it did not answer any more.

    `asked`: those over which it fell silent, which are the only suspects, whether or not they still live
    there; None: nobody knows, and it is as after any kill.
    """
    if asked is None:
        return judge(inmates, killed=True)
    suspects = [i for i in inmates if i.name in asked]
    blamed = {i.name: Verdict(len(suspects) == 1, _next(i, len(suspects), False)) for i in suspects}
    return {i.name: blamed.get(i.name, Verdict(False, party_of(i))) for i in inmates}


def _next(inmate: Inmate, suspects: int, killed: bool) -> int:
    """The party of one of so many suspects."""
    again = party_of(inmate) > 0
    if again and suspects <= SMALL:
        return 1
    return math.ceil(suspects / 2 if killed and not again else math.sqrt(suspects))


def party_of(inmate: Inmate) -> int:
    """With how many it may share a host now."""
    return 0 if inmate.age >= CLEARED else inmate.party
