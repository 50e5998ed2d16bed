"""What the stored definitions and statuses tell about the whole, for `doctor`.

Comes in: what the buckets hold, and the time. Goes out: `Check`s. All but `survey` is pure; that somebody
acts on the store can be told from outside only by what is written there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from nexthos_cli.doctor.results import fail, ok, warn
from nexthos_cli.output.models import Check
from nexthos_cli.output.render import age
from nexthos_cli.pipelines.orphans import orphaned
from nexthos_cli.pipelines.places import Abandoned, all_abandoned, residents
from nexthos_cli.pipelines.rollout import outdated
from nexthos_shared.model import Condition, ConditionType
from nexthos_shared.model.control import read_holder
from nexthos_shared.model.entries import read_status
from nexthos_shared.reasons import SEEN_BY_DOCTOR, Doctor

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry, Store

MOST_TOLD = 5  # pipelines that a line names with their words
STALE = 10.0  # seconds after which it is worth a warning that no controller acted on a change
TOO_LONG = 60.0  # seconds after which that is a failure
_HARMLESS = {Doctor.NOTICE, Doctor.PASSES}
# Each of these has a line of its own.
_ELSEWHERE = {
    ConditionType.ORPHANED,
    ConditionType.OUTDATED,
    ConditionType.NOT_DELIVERING,
    ConditionType.WARNING,
}


async def survey(store: Store) -> list[Check]:
    """All of them."""
    entries, statuses, abandoned, info = await asyncio.gather(
        store.pipelines.snapshot(),
        store.statuses.snapshot(),
        all_abandoned(store),
        store.link.js.stream_info(store.pipelines.stream),
    )
    return [
        revisions(statuses, info.state.last_seq),
        orphans(statuses),
        behind(entries, statuses, time.time()),
        places(statuses, abandoned),
        renewable(statuses),
        failing(statuses),
        undelivered(statuses),
    ]


def revisions(statuses: Iterable[KvEntry], last: int) -> Check:
    """Whether statuses speak of revisions that the bucket of definitions has not reached."""
    read = {s.key: read_status(s) for s in statuses}
    ahead = [key for key, status in read.items() if status and status.newest_revision > last]
    if not ahead:
        return ok("revisions", "definitions are as new as the statuses that speak of them")
    words = (
        f"{_named(ahead)} ran at a revision that the bucket of definitions has not reached ({last}): "
        "it was made again, or restored from a backup"
    )
    remedy = "what is stored acts normally, what is absent is orphaned and runs on; apply what is missing"
    return warn("revisions", words, remedy)


def orphans(statuses: Iterable[KvEntry]) -> Check:
    """Executions whose definition is gone without a delete marker."""
    if found := orphaned(statuses):
        words = f"{_named(list(found))} run without a definition"
        remedy = "apply them again to own them, or `nexthos rm --orphans` to remove them"
        return warn("orphans", words, remedy)
    return ok("orphans", "every execution has a definition")


def behind(entries: Iterable[KvEntry], statuses: Iterable[KvEntry], now: float) -> Check:
    """Changes that no controller acted on for some time."""
    reported = {s.key: s for s in statuses}
    unseen = {
        e.key: now - e.created
        for e in entries
        if now - e.created > STALE and not _was_seen(e, reported.get(e.key))
    }
    if unseen:
        longest = max(unseen.values())
        words = (
            f"no controller acted on changes of {_named(sorted(unseen))}, one for {age(longest)}"
        )
        remedy = "if a controller runs (below), `nexthos reconcile ID` shows what blocks it"
        return (fail if longest > TOO_LONG else warn)("behind", words, remedy)
    return ok("behind", "a controller acted on every change")


def _was_seen(entry: KvEntry, reported: KvEntry | None) -> bool:
    """A status that can't be read counts: somebody newer than this wrote it."""
    gone = reported is None or reported.value is None
    if entry.value is None:
        return gone  # the status goes last
    status = read_status(reported)
    return not gone and (status is None or status.observed_revision >= entry.revision)


def places(statuses: Sequence[KvEntry], abandoned: Sequence[Abandoned]) -> Check:
    """Places that do not answer, and those that were declared gone."""
    gone = {one.place: one for one in abandoned}
    lost: dict[str, list[str]] = {}
    for stored in statuses:
        status = read_status(stored)
        condition = status.condition(ConditionType.REACHABLE) if status else None
        if status is None or condition is None or condition.status != "False":
            continue
        for place in sorted(status.possible_places - gone.keys()) or ["?"]:
            lost.setdefault(place, []).append(stored.key)
    told = [
        f"{one.place} is declared gone (by {one.by}, {age(max(time.time() - one.at, 0))} ago)"
        for one in abandoned
    ]
    if lost:
        words = "; ".join(f"{p}: {_named(keys)} can't be seen" for p, keys in sorted(lost.items()))
        remedy = "bring it back; if it is gone for good, `nexthos abandon PLACE`"
        return warn("places", "; ".join([words, *told]), remedy)
    known = len(residents(statuses))
    return ok("places", "; ".join([f"none of {known} is out of reach", *told]))


def renewable(statuses: Iterable[KvEntry]) -> Check:
    """Executions that were started with older settings than the controller has now."""
    if found := outdated(statuses):
        words = f"{_named(list(found))} run with an older engine or older settings"
        return warn("outdated", words, "nothing has to be done; `nexthos rollout` renews them")
    return ok("outdated", "everything runs with the settings of today")


def failing(statuses: Iterable[KvEntry]) -> Check:
    """Pipelines that can't do what their entries say, each with the reason that readers are told."""
    found: dict[str, str] = {}
    for stored in statuses:
        status = read_status(stored)
        for condition in status.conditions if status else ():
            if _fails(condition):
                words = f"{stored.key}: {condition.reason}: {condition.message}"
                found.setdefault(stored.key, words.removesuffix(": "))
    if not found:
        return ok("pipelines", "none says that it can't do what its entry says")
    return fail("pipelines", _told(found), "`nexthos status ID` and `nexthos logs ID` tell more")


def _fails(condition: Condition) -> bool:
    """Also with a reason that a check is about: a runner that NATS refuses says NotPermitted."""
    harmless = SEEN_BY_DOCTOR[condition.reason] in _HARMLESS or condition.type in _ELSEWHERE
    return condition.is_bad and not harmless


def undelivered(statuses: Iterable[KvEntry]) -> Check:
    """Pipelines that take messages and give none on. One that drops all by intention is right."""
    found: dict[str, str] = {}
    for stored in statuses:
        status = read_status(stored)
        condition = status.condition(ConditionType.NOT_DELIVERING) if status else None
        if condition is not None and condition.is_bad:
            found[stored.key] = f"{stored.key}: {condition.reason}: {condition.message}"
    if not found:
        return ok("delivery", "what takes messages gives some on")
    remedy = "right where all are dropped by intention; else see `nexthos logs ID`"
    return warn("delivery", _told(found), remedy)


def _told(found: Mapping[str, str]) -> str:
    told = [found[key] for key in sorted(found)[:MOST_TOLD]]
    more = f", and {len(found) - len(told)} more" if len(found) > len(told) else ""
    return f"{'; '.join(told)}{more}"


def leader(lease: KvEntry | None, now: float, *, acts: bool) -> Check | None:
    """Who holds the lease; None where nobody does and no controller answers either."""
    claim = read_holder(lease.value) if lease is not None else None
    if claim is None:
        if not acts:
            return None
        remedy = (
            "one takes over within seconds; if not, see `nexthos status` and the controllers' logs"
        )
        return warn("leader", "nobody holds the lease, so no controller acts", remedy)
    for_long = age(max(now - claim.since, 0))
    words = f"{claim.holder} on {claim.host} has the lease, for {for_long}"
    if acts:
        return ok("leader", words)
    remedy = "if it died, another one takes over within seconds; if it hangs, end it"
    return warn("leader", f"{words}, and does not answer", remedy)


def is_held(lease: KvEntry | None) -> bool:
    """Whether somebody has the lease, as far as is stored."""
    return lease is not None and read_holder(lease.value) is not None


def _named(keys: Sequence[str]) -> str:
    count = f"{len(keys)} pipeline{'s' if len(keys) != 1 else ''}"
    return f"{count} ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})"
