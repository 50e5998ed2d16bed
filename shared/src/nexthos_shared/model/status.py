"""The status of a pipeline: the value that the controller keeps in the bucket `<ns>-status`.

Two parts. The report, at the top level, is for readers. The memory, under `memory`, is what the
controller must know after a restart; it is written by compare-and-set before the effect it allows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from msgspec import Meta

from nexthos_shared.model.pipeline import Pipeline, Wanted
from nexthos_shared.model.stored import Count, Moment, Stored, always
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

    type: Annotated[ConditionType, Meta(description="the aspect that it speaks of")]
    status: Annotated[Truth, Meta(description="Unknown: it can't be said at the moment")]
    reason: Annotated[Reason, Meta(description="one word, as in `nexthos explain`")]
    message: Annotated[str, Meta(description="the cause in a sentence")] = always("")
    file: Annotated[str | None, Meta(description="the document of the cause, if known")] = None
    line: Annotated[int | None, Meta(description="its line, from 1")] = None
    column: Annotated[int | None, Meta(description="its column, from 1")] = None
    since: Annotated[
        Moment, Meta(description="seconds since the epoch at which status or reason changed")
    ] = always(0.0)

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

    name: Annotated[str, Meta(description="what its executor calls it")]
    uid: Annotated[str, Meta(description="unique to this life of it")]
    executor: Annotated[str, Meta(description="the executor that runs it")]
    place: Annotated[str, Meta(description="the machine, daemon or cluster where it lives")]
    replica: Annotated[Count, Meta(description="which replica it is, from 0")]
    spec_hash: Annotated[str, Meta(description="the spec that it was made from")]
    state: Literal["prepared", "running", "stopping", "stopped"]
    ready: Annotated[
        bool | None, Meta(description="absent: it does not run, or can't be asked")
    ] = None
    restarts: Annotated[Count, Meta(description="unexpected exits of this replica")] = always(0)
    exit_code: Annotated[int | None, Meta(description="of its last exit, if known")] = None
    reason: Annotated[Reason | None, Meta(description="why it exited")] = None
    started_at: Annotated[Moment | None, Meta(description="seconds since the epoch")] = None
    endpoint: Annotated[str | None, Meta(description="base URL of the engine's own HTTP")] = None


class Traits(Stored, frozen=True, kw_only=True):
    """What a configuration contains that matters to the controller."""

    uses_nats: Annotated[bool, Meta(description="it names ${NATS_URL}")] = always(False)
    warnings: Annotated[list[Problem], Meta(description="worth knowing, no reason to refuse")] = (
        always([])
    )
    handled: Annotated[
        list[str],
        Meta(
            description="components whose errors it deals with itself, as the engine's log names them"
        ),
    ] = always([])


class Accepted(Stored, frozen=True, kw_only=True):
    """A definition that may run, with the digest that was pinned when it was accepted."""

    revision: Annotated[Count, Meta(description="of the entry that it came with")]
    spec_hash: Annotated[str, Meta(description="64 hex digits over what shapes an execution")]
    digest: Annotated[str, Meta(description="of the configuration's bytes: sha256:<hex>")]
    definition: Annotated[Pipeline, Meta(description="the definition, as it was accepted")]
    traits: Annotated[Traits | None, Meta(description="absent: its bytes were not read yet")] = None
    was_ready: Annotated[bool, Meta(description="all its replicas were ready together once")] = (
        always(False)
    )
    fallback: Annotated[
        bool,
        Meta(description="`last_good` was ready when this took its place: go back if it never is"),
    ] = always(False)


class Readiness(Stored, frozen=True, kw_only=True):
    """Whether all replicas of the current spec are ready together, and since when."""

    ready: bool
    since: Annotated[Moment, Meta(description="seconds since the epoch")]


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

    uid: Annotated[
        str, Meta(description="the execution last seen running here; empty: none yet")
    ] = always("")
    executor: str = always("")
    place: str = always("")
    was_ready: Annotated[bool, Meta(description="`uid` has been ready at least once")] = always(
        False
    )
    ended: Annotated[bool, Meta(description="the end of `uid` has been counted")] = always(False)
    running_since: Annotated[Moment, Meta(description="seconds since the epoch")] = always(0.0)
    restarts: Annotated[Count, Meta(description="unexpected exits of this spec")] = always(0)
    failures: Annotated[
        Count, Meta(description="exits in a row without a healthy time in between")
    ] = always(0)
    not_before: Annotated[Moment, Meta(description="seconds since the epoch; no start earlier")] = (
        always(0.0)
    )
    problem: Annotated[Problem | None, Meta(description="why it ended last")] = None


class Memory(Stored, frozen=True, kw_only=True):
    """What the controller must know after a restart to go on as if there had been none."""

    wanted: Annotated[Wanted | None, Meta(description="the last status that was understood")] = None
    current: Annotated[Accepted | None, Meta(description="what runs, or is being started")] = None
    last_good: Annotated[
        Accepted | Literal["current"] | None,
        Meta(
            description="the last one whose replicas were all ready together for some time; `current`, "
            "where it is that one"
        ),
    ] = None
    held: Annotated[Held | None, Meta(description="the spec that is not tried again")] = None
    completed: Annotated[str | None, Meta(description="spec hash of a job that finished")] = None
    failed: Annotated[
        str | None, Meta(description="spec hash of a job that used up its retries")
    ] = None
    readiness: Readiness | None = None
    slots: Annotated[dict[Count, Slot], Meta(description="by replica")] = always({})
    places: Annotated[
        list[Place], Meta(description="where something of it may be, whatever its spec")
    ] = always([])

    @property
    def good(self) -> Accepted | None:
        """The last one that was good: a definition is half of a status, so it is written once."""
        return self.current if isinstance(self.last_good, str) else self.last_good


class PipelineStatus(Stored, frozen=True, kw_only=True):
    """The report, and the memory below it."""

    observed_revision: Annotated[
        Count, Meta(description="revision of the entry this speaks of")
    ] = always(0)
    phase: Annotated[Phase, Meta(description="one word for where it is")]
    ready: Annotated[Count, Meta(description="executions ready now")] = always(0)
    replicas: Annotated[Count, Meta(description="executions wanted now")] = always(0)
    version: Annotated[str | None, Meta(description="version that runs, or is being started")] = (
        None
    )
    digest: Annotated[str | None, Meta(description="of the bytes that run: sha256:<hex>")] = None
    restarts: Annotated[Count, Meta(description="unexpected exits of the current spec")] = always(0)
    drifts: Annotated[
        Count, Meta(description="times it was found otherwise than left, and put right")
    ] = always(0)
    conditions: Annotated[list[Condition], Meta(description="at most one of each type")] = always(
        []
    )
    executions: Annotated[
        list[ExecutionReport], Meta(description="the first 50; `executions_total` counts all")
    ] = always([])
    executions_total: Annotated[Count, Meta(description="executions that exist")] = always(0)
    controller: Annotated[str, Meta(description="who wrote it")] = always("")
    updated_at: Annotated[Moment, Meta(description="seconds since the epoch")] = always(0.0)
    memory: Annotated[
        Memory, Meta(description="the controller's own, to go on with after a restart")
    ] = always(Memory())

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of that type, if it is reported."""
        return next((c for c in self.conditions if c.type is kind), None)

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
