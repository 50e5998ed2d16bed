"""The invariants of docs/faults.md, each judged at the very effect that may break it.

Comes in: every effect on a world and every status that is written, with the look that it is of. Goes out:
violations. A look may go by any entry that its controller knew from its beginning on: what was decided is
done a moment later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from nexthos_controller.execution import Execution, Exit, Owner
from nexthos_controller.executors.fake import Thing
from nexthos_shared.model import Entry, PipelineStatus, Wanted
from nexthos_shared.model.stored import decode
from nexthos_shared.store import KvEntry
from nexthos_testing.machine.acting import LOOK, Look
from nexthos_testing.machine.chronicle import Chronicle, matches
from nexthos_testing.machine.world import Life, WatchedWorld

FIRST_DELAY, LAST_DELAY = 1.0, 300.0  # seconds
JITTER = 0.2
CRASH_LOOP_AFTER = 5  # ends in a row
MOST_AT_ONCE = 200  # effects without a moment in between
ORDER = ("prepared", "running", "stopped")


class Violation(AssertionError):
    """An invariant or a goal that does not hold."""

    def __init__(self, invariant: str, words: str) -> None:
        super().__init__(f"{invariant}: {words}")
        self.invariant = invariant


class Judge:
    """See the module. A `Witness` of the worlds."""

    def __init__(self, chronicle: Chronicle, owner: Owner, now: Callable[[], float]) -> None:
        self.worlds: Mapping[str, WatchedWorld] = {}
        self.violations: list[Violation] = []
        self.effects = 0  # of looks
        self.undisturbed = ""  # the pipeline that nothing is ever done to once it runs
        self._chronicle = chronicle
        self._owner = owner
        self._moment, self._at_once = 0.0, 0  # effects at the same moment
        self._now = now
        self._states: dict[str, str] = {}  # as last told of an execution, by uid
        self._observed: dict[str, tuple[str, int]] = {}  # a bucket's life, and a revision in it

    def _breaks(self, invariant: str, words: str) -> None:
        self.violations.append(Violation(invariant, words))

    def defect(self, key: str, error: Exception) -> None:
        """A look ended as none may, whatever happens."""
        self._breaks("defect", f"a look at {key} raised {error!r}")

    # ---- effects

    def made(self, thing: Thing) -> None:
        """See Witness."""
        if look := self._effect(thing):
            look.acting.moment()

    def began(self, life: Life) -> None:
        """See Witness."""
        look = self._effect(life.thing)
        if look is None:
            life.by_hand = True
            return
        self._has_a_definition(life, look)
        self._lives_alone(life, look)
        self._was_waited_for(life)
        look.acting.moment()

    def ended(self, life: Life, exit: Exit | None) -> None:
        """See Witness."""
        look = self._effect(life.thing)
        if look is None:
            self._chronicle.ended(life, exit, self._now())
            return
        self._may_end(life, look)
        look.acting.moment()

    def asked(self, life: Life) -> None:
        """See Witness."""
        self._chronicle.asked(life)

    def removed(self, thing: Thing) -> None:
        """See Witness."""
        look = self._effect(thing)
        if look is None:
            return
        if not self._may_go(thing.execution, look):
            self._breaks("I6", f"removed {_told(thing.execution)} under {_entries(look)}")
        look.acting.moment()

    def _effect(self, thing: Thing) -> Look | None:
        look, execution = LOOK.get(), thing.execution
        if look is None:
            return None
        self.effects += 1
        self._comes_to_rest(look)
        if not look.acting.leads:
            self._breaks("I10", f"{_told(execution)} is touched without the lease")
        if thing.owner != self._owner:
            self._breaks("I5", f"{_told(execution)} is of {thing.owner}, and is touched")
        if execution.id != look.key:
            self._breaks("I5", f"a look at {look.key} touches {_told(execution)}")
        if execution.id == self.undisturbed:
            self._breaks("I1", f"{_told(execution)} has nothing to do with all this")
        return look

    def _comes_to_rest(self, look: Look) -> None:
        """Else the clock would stand still for ever."""
        now = self._now()
        self._moment, self._at_once = now, self._at_once + 1 if now == self._moment else 0
        if self._at_once > MOST_AT_ONCE:
            self._breaks("L4", f"never comes to rest with {look.key}")
            look.acting.dead = True

    # ---- beginnings

    def _has_a_definition(self, life: Life, look: Look) -> None:
        execution = life.execution
        stored = any(
            e.revision == execution.revision
            and e.pipeline is not None
            and matches(e.pipeline, execution)
            and execution.digest
            in self._chronicle.digests.get((execution.id, e.pipeline.version or ""), [])
            for e in self._chronicle.written.get(execution.id, [])
        )
        if not stored:
            self._breaks("I2", f"{_told(execution)} is of no stored definition")
        if not any(self._wants(entry) for entry in look.entries):
            self._breaks("I2", f"{_told(execution)} starts under {_entries(look)}")

    def _wants(self, entry: Entry | None) -> bool:
        """Whether something may be started under it: it is published, or something was before."""
        if entry is None or entry.deleted or entry.wanted in (Wanted.PAUSED, Wanted.DRAFT):
            return False
        return entry.pipeline is not None or entry.key in self._chronicle.published

    def _lives_alone(self, life: Life, look: Look) -> None:
        older = [other for other in self._beside(life) if self._counts(other, look)]
        here = life.execution.executor
        rolls = self._chronicle.may_roll(life.execution) and all(
            o.spec != life.spec and o.execution.executor == here for o in older
        )
        if len(older) > (1 if rolls else 0):
            beside = ", ".join(_told(o.execution) for o in older)
            self._breaks("I1", f"{_told(life.execution)} starts beside {beside}")

    def _counts(self, other: Life, look: Look) -> bool:
        """Whether the look could know that it runs."""
        return not other.lied_about and not (other.by_hand and other.began >= look.since)

    def _beside(self, life: Life) -> list[Life]:
        """Other lives of the same replica that run now, wherever."""
        lives = (other for world in self.worlds.values() for other in world.running_lives())
        ours = (o for o in lives if o.thing.owner == self._owner)
        return [o for o in ours if o.replica == life.replica and o is not life]

    def _was_waited_for(self, life: Life) -> None:
        now = self._now()
        tally = self._chronicle.began(life, now)
        definition = self._chronicle.definition_of(life.execution)
        job = definition is not None and definition.lifecycle == "job"
        if tally.completed:
            self._breaks("I12", f"{_told(life.execution)} was completed, and starts again")
        if job and definition is not None and tally.ends > definition.retries:
            self._breaks("I12", f"{_told(life.execution)} had failed {tally.ends} times")
        due = _delay_after(tally.row)
        if tally.ended_at is not None and now - tally.ended_at < due:
            words = (
                f"after {now - tally.ended_at:.2f} s, {tally.row} ends in a row, {due:.2f} s due"
            )
            self._breaks("I9", f"{_told(life.execution)} starts {words}")
        tally.last, tally.ended_at = life, None

    # ---- ends

    def _may_end(self, life: Life, look: Look) -> None:
        execution = life.execution
        pauses = any(e is not None and self._chronicle.is_paused(e) for e in look.entries)
        if not pauses and not self._may_go(execution, look):
            self._breaks("I6", f"ended {_told(execution)} under {_entries(look)}")
        refused = all(self._chronicle.is_refused(e) for e in look.entries)
        if refused and self._is_good(life, look) and not self._is_surplus(execution, look):
            self._breaks("I8", f"ended {_told(execution)} under {_entries(look)}")

    def _is_surplus(self, execution: Execution, look: Look) -> bool:
        """Whether an entry asks for fewer replicas of what runs: its bytes need not be stored for that."""
        asked = [e.pipeline for e in look.entries if e is not None and e.pipeline is not None]
        return any(matches(p, execution) and execution.replica >= p.replicas for p in asked)

    def _is_good(self, life: Life, look: Look) -> bool:
        """Whether it is, ready and alone, of the last definition that was valid."""
        execution = life.thing.execution
        valid = self._chronicle.valid.get(execution.id)
        if valid is None or self._chronicle.changed_at.get(execution.id, 0.0) >= look.since:
            return False
        others = [e for e in self._things(execution.id) if e.state == "running"]
        twins = [e for e in others if e.replica == execution.replica and e.uid != execution.uid]
        one_place = {e.executor for e in others} <= {execution.executor}
        return (
            matches(valid, execution)
            and execution.replica < valid.replicas
            and life.was_ready
            and one_place
            and not twins
        )

    def _may_go(self, execution: Execution, look: Look) -> bool:
        return any(self._lets_go(entry, execution, look) for entry in look.entries)

    def _lets_go(self, entry: Entry | None, execution: Execution, look: Look) -> bool:
        """Whether tables A and B let this execution be stopped and removed under that entry."""
        if entry is None:
            return False
        if entry.deleted or entry.wanted is Wanted.DRAFT:
            return True
        if entry.wanted is Wanted.PAUSED:
            return False
        wanted = entry.pipeline or self._chronicle.published.get(look.key)
        if wanted is None:
            return False
        if not matches(wanted, execution) or execution.replica >= wanted.replicas:
            return True  # replaced, or one too many
        uid = execution.uid
        life = self.worlds[execution.executor].lives.get(uid)
        if life is None or not life.was_ready:
            return True  # refused by lint, or given way to the last good one
        same = [e for e in self._things(execution.id) if e.replica == execution.replica]
        return any(e.uid != uid or e.executor != execution.executor for e in same)

    def _things(self, key: str) -> Iterable[Execution]:
        for world in self.worlds.values():
            for thing in world.things.values():
                if thing.owner == self._owner and thing.execution.id == key:
                    yield thing.execution

    # ---- what is told

    def told(self, stored: KvEntry) -> None:
        """A status was written, or deleted."""
        look = LOOK.get()
        if look is None:
            return
        if not look.acting.leads:
            self._breaks("I10", f"the status of {stored.key} is written without the lease")
        status = _read(stored)
        if status is not None:
            self._never_goes_back(stored.key, status)
            self._is_no_prophecy(stored.key, status, look)
        look.acting.moment()

    def _never_goes_back(self, key: str, status: PipelineStatus) -> None:
        for told in status.executions:
            before = self._states.get(told.uid, "prepared") if told.uid else "prepared"
            if told.uid and ORDER.index(told.state) < ORDER.index(before):
                self._breaks("I3", f"{key}: {told.uid} was {before}, and is {told.state} now")
            self._states[told.uid] = told.state

    def _is_no_prophecy(self, key: str, status: PipelineStatus, look: Look) -> None:
        bucket = look.bucket
        if bucket != look.acting.identity["pipelines"]:
            return  # it was made anew in the midst of the look
        known_life, known = self._observed.get(key, (bucket, 0))
        if known_life != bucket:
            known = 0
        written = [e.revision for e in self._chronicle.written.get(key, []) if e.revision]
        if status.observed_revision and status.observed_revision not in written:
            self._breaks("I4", f"{key}: revision {status.observed_revision} was never stored")
        if status.observed_revision < known:
            self._breaks("I4", f"{key}: observed {known}, then {status.observed_revision}")
        self._observed[key] = bucket, status.observed_revision


def _delay_after(row: int) -> float:
    """The shortest that docs/architecture.md allows."""
    if row == 0:
        return 0.0
    delay = LAST_DELAY if row >= CRASH_LOOP_AFTER else FIRST_DELAY * 2.0 ** (row - 1)
    return delay * (1 - JITTER) - 0.001


def _read(stored: KvEntry) -> PipelineStatus | None:
    try:
        return decode(PipelineStatus, stored.value) if stored.value else None
    except ValueError:
        return None


def _told(execution: Execution) -> str:
    at = f"{execution.executor}/{execution.place}"
    return f"{execution.id} {execution.replica} ({execution.name[-8:]} {execution.uid} on {at})"


def _entries(look: Look) -> str:
    return " / ".join(_entry(e) for e in look.entries)


def _entry(entry: Entry | None) -> str:
    if entry is None:
        return "no entry"
    if entry.deleted:
        return f"a marker ({entry.revision})"
    words = (
        entry.problem.message
        if entry.problem
        else f"version {entry.pipeline and entry.pipeline.version}"
    )
    return f"{entry.wanted or 'unreadable'} ({entry.revision}, {words})"
