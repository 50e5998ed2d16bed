"""The status of a pipeline: the value that the controller keeps in the bucket `<ns>-status`.

Two parts. The report, at the top level, is for readers. The memory, under `memory`, is what the
controller must know after a restart; it is written by compare-and-set before the effect it allows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from nexthos_shared.model.pipeline import Pipeline, Wanted
from nexthos_shared.model.stored import Count, Moment, Stored, always, doc
from nexthos_shared.reasons import Problem, Reason

CURRENT: Final = "current"
LISTED_EXECUTIONS = 50  # more are only counted: a status must stay far below NATS's 1 MiB


class Phase(StrEnum):
    """One word for where a pipeline is. `Invalid`: nothing of it runs."""

    DRAFT = "Draft"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    PAUSED = "Paused"
    COMPLETED = "Completed"
    CRASH_LOOP = "CrashLoop"  # retried
    FAILED = "Failed"  # not retried
    INVALID = "Invalid"
    UNKNOWN = "Unknown"

    @property
    def is_at_rest(self) -> bool:
        """Nothing runs, and nothing is to run."""
        return self in _AT_REST

    @property
    def is_on_its_way(self) -> bool:
        """It is left without anybody's doing."""
        return self in (Phase.STARTING, Phase.STOPPING, Phase.UNKNOWN)

    @property
    def is_over(self) -> bool:
        """A job that came to its end, good or bad."""
        return self in (Phase.COMPLETED, Phase.FAILED)

    @property
    def is_good(self) -> bool:
        """What is published got where it should."""
        return self in (Phase.RUNNING, Phase.COMPLETED)

    @property
    def is_bad(self) -> bool:
        """Something is wrong, or not known."""
        return self is Phase.UNKNOWN or self.is_hopeless

    @property
    def is_hopeless(self) -> bool:
        """It gets no better by waiting."""
        return self in (Phase.CRASH_LOOP, Phase.FAILED, Phase.INVALID)


_AT_REST = frozenset({Phase.DRAFT, Phase.PAUSED, Phase.COMPLETED, Phase.FAILED, Phase.INVALID})


class ConditionType(StrEnum):
    """What a condition speaks of."""

    VALID = "Valid"
    READY = "Ready"
    PROGRESSING = "Progressing"
    REACHABLE = "Reachable"
    NAME_CONFLICT = "NameConflict"
    ORPHANED = "Orphaned"
    OUTDATED = "Outdated"
    ERRORING = "Erroring"
    NOT_DELIVERING = "NotDelivering"
    WARNING = "Warning"


Truth = Literal["True", "False", "Unknown"]


class Condition(Stored, frozen=True, kw_only=True):
    """One observation, with the reason (see `nexthos explain`) and where the cause stands."""

    type: Annotated[ConditionType, doc("the aspect that it speaks of")]
    status: Annotated[Truth, doc("Unknown: it can't be said at the moment")]
    reason: Annotated[Reason, doc("one word, as in `nexthos explain`")]
    message: Annotated[str, doc("the cause in a sentence")] = always("")
    file: Annotated[str | None, doc("the document of the cause, if known")] = None
    line: Annotated[int | None, doc("its line, from 1")] = None
    column: Annotated[int | None, doc("its column, from 1")] = None
    since: Annotated[Moment, doc("seconds since the epoch at which status or reason changed")] = (
        always(0.0)
    )

    @property
    def is_bad(self) -> bool:
        """Whether it tells of something that is not as it should be."""
        return (self.status == "True") is (self.type in _BAD_WHEN_TRUE)

    @property
    def problem(self) -> Problem:
        """What it says, as a problem with its place."""
        return Problem(
            self.reason, self.message, file=self.file, line=self.line, column=self.column
        )


class ExecutionReport(Stored, frozen=True, kw_only=True):
    """One execution as readers see it."""

    name: Annotated[str, doc("what its executor calls it")]
    uid: Annotated[str, doc("unique to this life of it")]
    executor: Annotated[str, doc("the executor that runs it")]
    place: Annotated[str, doc("the machine, daemon or cluster where it lives")]
    replica: Annotated[Count, doc("which replica it is, from 0")]
    spec_hash: Annotated[str, doc("the spec that it was made from")]
    state: Literal["prepared", "running", "stopping", "stopped"]
    ready: Annotated[bool | None, doc("absent: it does not run, or can't be asked")] = None
    restarts: Annotated[Count, doc("unexpected exits of this replica")] = always(0)
    exit_code: Annotated[int | None, doc("of its last exit, if known")] = None
    reason: Annotated[Reason | None, doc("why it exited")] = None
    started_at: Annotated[Moment | None, doc("seconds since the epoch")] = None
    endpoint: Annotated[str | None, doc("base URL of the engine's own HTTP")] = None


class Traits(Stored, frozen=True, kw_only=True):
    """What a configuration contains that matters to the controller."""

    uses_nats: Annotated[bool, doc("it names ${NATS_URL}")] = always(False)
    warnings: Annotated[list[Problem], doc("worth knowing, no reason to refuse")] = always([])
    handled: Annotated[
        list[str],
        doc("components whose errors it deals with itself, as the engine's log names them"),
    ] = always([])


class Accepted(Stored, frozen=True, kw_only=True):
    """A definition that may run, with the digest that was pinned when it was accepted."""

    revision: Annotated[Count, doc("of the entry that it came with")]
    spec_hash: Annotated[str, doc("64 hex digits over what shapes an execution")]
    digest: Annotated[str, doc("of the configuration's bytes: sha256:<hex>")]
    definition: Annotated[Pipeline, doc("the definition, as it was accepted")]
    traits: Annotated[Traits | None, doc("absent: its bytes were not read yet")] = None
    was_ready: Annotated[bool, doc("all its replicas were ready together once")] = always(False)
    fallback: Annotated[
        bool, doc("`last_good` was ready when this took its place: go back if it never is")
    ] = always(False)


class Readiness(Stored, frozen=True, kw_only=True):
    """Whether all replicas of the current spec are ready together, and since when."""

    ready: bool
    since: Annotated[Moment, doc("seconds since the epoch")]


class Place(Stored, frozen=True, kw_only=True):
    """Where an execution may live: only that place can say that it is gone."""

    executor: str
    place: str


class Held(Stored, frozen=True, kw_only=True):
    """A spec that was tried and refused: not tried again until it changes."""

    spec_hash: str
    problem: Problem


class Slot(Stored, frozen=True, kw_only=True):
    """What is remembered of one replica of the current spec."""

    uid: Annotated[str, doc("the execution last seen running here; empty: none yet")] = always("")
    executor: str = always("")
    place: str = always("")
    was_ready: Annotated[bool, doc("`uid` has been ready at least once")] = always(False)
    ended: Annotated[bool, doc("the end of `uid` has been counted")] = always(False)
    running_since: Annotated[Moment, doc("seconds since the epoch")] = always(0.0)
    restarts: Annotated[Count, doc("unexpected exits of this spec")] = always(0)
    failures: Annotated[Count, doc("exits in a row without a healthy time in between")] = always(0)
    not_before: Annotated[Moment, doc("seconds since the epoch; no start earlier")] = always(0.0)
    problem: Annotated[Problem | None, doc("why it ended last")] = None


class Memory(Stored, frozen=True, kw_only=True):
    """What the controller must know after a restart to go on as if there had been none."""

    wanted: Annotated[Wanted | None, doc("the last status that was understood")] = None
    current: Annotated[Accepted | None, doc("what runs, or is being started")] = None
    last_good: Annotated[
        Accepted | Literal["current"] | None,
        doc(
            "the last one whose replicas were all ready together for some time; `current`, "
            "where it is that one"
        ),
    ] = None
    held: Annotated[Held | None, doc("the spec that is not tried again")] = None
    completed: Annotated[str | None, doc("spec hash of a job that finished")] = None
    failed: Annotated[str | None, doc("spec hash of a job that used up its retries")] = None
    readiness: Readiness | None = None
    slots: Annotated[dict[Count, Slot], doc("by replica")] = always({})
    places: Annotated[list[Place], doc("where something of it may be, whatever its spec")] = always(
        []
    )

    @property
    def good(self) -> Accepted | None:
        """The last one that was good: a definition is half of a status, so it is written once."""
        return self.current if isinstance(self.last_good, str) else self.last_good


class PipelineStatus(Stored, frozen=True, kw_only=True):
    """The report, and the memory below it."""

    observed_revision: Annotated[Count, doc("revision of the entry this speaks of")] = always(0)
    phase: Annotated[Phase, doc("one word for where it is")]
    ready: Annotated[Count, doc("executions ready now")] = always(0)
    replicas: Annotated[Count, doc("executions wanted now")] = always(0)
    version: Annotated[str | None, doc("version that runs, or is being started")] = None
    digest: Annotated[str | None, doc("of the bytes that run: sha256:<hex>")] = None
    restarts: Annotated[Count, doc("unexpected exits of the current spec")] = always(0)
    drifts: Annotated[Count, doc("times it was found otherwise than left, and put right")] = always(
        0
    )
    conditions: Annotated[list[Condition], doc("at most one of each type")] = always([])
    executions: Annotated[
        list[ExecutionReport], doc("the first 50; `executions_total` counts all")
    ] = always([])
    executions_total: Annotated[Count, doc("executions that exist")] = always(0)
    controller: Annotated[str, doc("who wrote it")] = always("")
    updated_at: Annotated[Moment, doc("seconds since the epoch")] = always(0.0)
    memory: Annotated[Memory, doc("the controller's own, to go on with after a restart")] = always(
        Memory()
    )

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of that type, if it is reported."""
        return next((c for c in self.conditions if c.type is kind), None)

    @property
    def possible_places(self) -> set[str]:
        """Where executions of it are, or may be."""
        seen = {execution.place for execution in self.executions}
        remembered = {place.place for place in self.memory.places}
        slots = {slot.place for slot in self.memory.slots.values()}
        return {place for place in seen | remembered | slots if place}

    @property
    def newest_revision(self) -> int:
        """The newest revision of the entry that was looked at, or that runs."""
        current = self.memory.current
        return max(self.observed_revision, current.revision if current else 0)

    @property
    def good_revision(self) -> int:
        """Revision of the last definition that became ready; 0: none did."""
        return self.memory.good.revision if self.memory.good is not None else 0

    def accepted_digests(self, version: str) -> set[str]:
        """The bytes that were accepted as that version, as far as they are remembered: sha256:<hex>."""
        accepted = (self.memory.current, self.memory.good)
        return {a.digest for a in accepted if a is not None and a.definition.version == version}

    @property
    def complaint(self) -> Condition | None:
        """The condition that a one-line summary should name, or None if all is well."""
        bad = [c for c in self.conditions if c.is_bad]
        return min(bad, key=lambda c: _URGENCY.index(c.type), default=None)


_BAD_WHEN_TRUE = {
    ConditionType.NAME_CONFLICT,
    ConditionType.ORPHANED,
    ConditionType.OUTDATED,
    ConditionType.ERRORING,
    ConditionType.NOT_DELIVERING,
    ConditionType.WARNING,
}
_URGENCY = [
    ConditionType.REACHABLE,
    ConditionType.NAME_CONFLICT,
    ConditionType.VALID,
    ConditionType.ORPHANED,
    ConditionType.READY,
    ConditionType.PROGRESSING,
    ConditionType.ERRORING,
    ConditionType.NOT_DELIVERING,
    ConditionType.OUTDATED,
    ConditionType.WARNING,
]
