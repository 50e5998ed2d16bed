"""The status of a pipeline: the value that the controller keeps in the bucket `<ns>-status`.

Two parts. The report, at the top level, is for readers. The memory, under `memory`, is what the
controller must know after a restart; it is written by compare-and-set before the effect it allows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_serializer,
)

from nexthos_shared.model.pipeline import Pipeline, Wanted
from nexthos_shared.model.quantities import Count, Moment
from nexthos_shared.reasons import Problem, Reason

CURRENT = "current"
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


class Stored(BaseModel):
    """Written by the controller only; unknown fields are ignored so that an older one can read it."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Condition(Stored):
    """One observation, with the reason (see `nexthos explain`) and where the cause stands."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    since: Moment = Field(
        0.0, description="seconds since the epoch at which status or reason changed"
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


class ExecutionReport(Stored):
    """One execution as readers see it."""

    name: str
    uid: str
    executor: str
    place: str
    replica: Count
    spec_hash: str
    state: Literal["prepared", "running", "stopped"]
    ready: bool | None = None
    restarts: Count = 0
    exit_code: int | None = None
    reason: Reason | None = None
    started_at: Moment | None = Field(None, description="seconds since the epoch")
    endpoint: str | None = Field(None, description="base URL of the engine's own HTTP")


class Traits(Stored):
    """What a configuration contains that matters to the controller."""

    uses_nats: bool = Field(False, description="it names ${NATS_URL}")
    warnings: list[Problem] = Field(
        default_factory=list, description="worth knowing, no reason to refuse"
    )
    handled: list[str] = Field(
        default_factory=list,
        description="components whose errors it deals with itself, as the engine's log names them",
    )


class Accepted(Stored):
    """A definition that may run, with the digest that was pinned when it was accepted."""

    revision: Count
    spec_hash: str
    digest: str
    definition: Pipeline
    traits: Traits | None = Field(None, description="null: its bytes were not read yet")
    was_ready: bool = Field(False, description="all its replicas were ready together once")
    fallback: bool = Field(
        False, description="`last_good` was ready when this took its place: go back if it never is"
    )


class Readiness(Stored):
    """Whether all replicas of the current spec are ready together, and since when."""

    ready: bool
    since: Moment = Field(description="seconds since the epoch")


class Place(Stored):
    """Where an execution may live: only that place can say that it is gone."""

    executor: str
    place: str


class Held(Stored):
    """A spec that was tried and refused: not tried again until it changes."""

    spec_hash: str
    problem: Problem


class Slot(Stored):
    """What is remembered of one replica of the current spec."""

    uid: str = Field("", description="the execution last seen running here; empty: none yet")
    executor: str = ""
    place: str = ""
    was_ready: bool = Field(False, description="`uid` has been ready at least once")
    ended: bool = Field(False, description="the end of `uid` has been counted")
    running_since: Moment = Field(0.0, description="seconds since the epoch")
    restarts: Count = Field(0, description="all ends of this spec that were not asked for")
    failures: Count = Field(0, description="ends in a row without a healthy time in between")
    not_before: Moment = Field(0.0, description="seconds since the epoch; no start earlier")
    problem: Problem | None = Field(None, description="why it ended last")


def or_the_current_one(
    value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Any:
    """Validate `last_good`, of which just a word is written where it is `current`."""
    return info.data.get(CURRENT) if value == CURRENT else handler(value)


class Memory(Stored):
    """What the controller must know after a restart to go on as if there had been none."""

    wanted: Wanted | None = Field(None, description="the last status that was understood")
    current: Accepted | None = None
    last_good: Annotated[
        Accepted | None,
        WrapValidator(
            or_the_current_one, json_schema_input_type=Accepted | Literal["current"] | None
        ),
    ] = Field(
        None,
        description="the last one whose replicas were all ready together for some time, where that is "
        "`current`, just this word",
    )
    held: Held | None = None
    completed: str | None = Field(None, description="spec hash of a job that finished")
    failed: str | None = Field(None, description="spec hash of a job that used up its retries")
    readiness: Readiness | None = None
    slots: dict[Count, Slot] = Field(default_factory=dict, description="by replica")
    places: list[Place] = Field(
        default_factory=list, description="where something of it may be, whatever its spec"
    )

    @field_serializer("last_good", mode="wrap")
    def _written(self, value: Accepted | None, handler: SerializerFunctionWrapHandler) -> Any:
        # It nearly always is; and a definition is half of a status.
        return CURRENT if value is not None and value == self.current else handler(value)


class PipelineStatus(Stored):
    """The report, and the memory below it."""

    observed_revision: Count = Field(0, description="revision of the entry this speaks of")
    phase: Phase
    ready: Count = Field(0, description="executions ready now")
    replicas: Count = Field(0, description="executions wanted now")
    version: str | None = Field(None, description="version that runs, or is being started")
    digest: str | None = None
    restarts: Count = Field(0, description="ends of the present spec that nobody asked for")
    drifts: Count = Field(0, description="times it was found otherwise than left, and put right")
    conditions: list[Condition] = Field(default_factory=list)
    executions: list[ExecutionReport] = Field(default_factory=list)
    executions_total: Count = 0
    controller: str = ""
    updated_at: Moment = Field(0.0, description="seconds since the epoch")
    memory: Memory = Field(default_factory=Memory)

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
