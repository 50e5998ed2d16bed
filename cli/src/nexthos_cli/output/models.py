"""What `-o json` prints, one model per command: `nexthos schema output-<command>` shows the schema.

Fields are added, never renamed. Models are built when first used: start-up time is a figure.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from nexthos_shared.model import Event, LogsLine, Phase
from nexthos_shared.model.stored import Stored, always, doc
from nexthos_shared.plan.differences import Difference
from nexthos_shared.reasons import Problem, Reason

Goal = Literal["ready", "paused", "draft", "completed", "deleted"]
Action = Literal["published", "paused", "drafted", "deleted", "scaled", "restarted", "unchanged"]


class Output(BaseModel):
    """One JSON document."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")


class ProblemOutput(Output):
    """One thing that is wrong."""

    reason: Reason
    message: str
    field: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None


def problem_output(problem: Problem) -> ProblemOutput:
    """A problem as it is printed."""
    return ProblemOutput(
        reason=problem.reason,
        message=problem.message,
        field=problem.field,
        file=problem.file,
        line=problem.line,
        column=problem.column,
    )


class PipelineLine(Output):
    """One pipeline as `ls` shows it."""

    id: str
    wanted: str | None = Field(None, description="published, paused, draft; null: not understood")
    deleted: bool = Field(False, description="the key is gone, something of it is still there")
    phase: Phase | None = Field(None, description="null: not reconciled yet")
    ready: int = 0
    replicas: int = 0
    version: str | None = Field(None, description="version that runs")
    wanted_version: str | None = None
    restarts: int = 0
    age: float = Field(0.0, description="seconds since the definition was last written")
    executor: str | None = None
    places: list[str] = Field(default_factory=list)
    reason: Reason | None = None
    message: str = ""
    where: str = Field("", description="file:line:column of the cause, as far as known")
    name: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    revision: int = 0
    observed_revision: int | None = None


class LsOutput(Output):
    """`nexthos ls -o json`."""

    pipelines: list[PipelineLine]


class Waited(Output):
    """What came of waiting for one pipeline."""

    goal: Goal
    result: Literal["reached", "failed", "timed_out"]
    phase: Phase | None = None
    reason: Reason | None = None
    message: str = ""
    seconds: float = Field(description="how long it was waited for")


class Applied(Output):
    """One pipeline of an `apply`."""

    id: str
    file: str
    action: Literal["created", "configured", "unchanged"]
    version: str | None = None
    digest: str | None = None
    revision: int = Field(0, description="of the entry; 0: not written, because of --dry-run")
    changes: list[Difference] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list, description="what it undoes")
    waited: Waited | None = None


class SkippedFile(Output):
    """A file that is no pipeline."""

    file: str
    reason: str


class ApplyOutput(Output):
    """`nexthos apply -o json`."""

    dry_run: bool
    pipelines: list[Applied]
    skipped: list[SkippedFile] = Field(default_factory=list)
    warnings: list[ProblemOutput] = Field(
        default_factory=list, description="what will run, and perhaps not as it is meant"
    )


class Acted(Output):
    """One pipeline of publish, pause, draft, scale, restart or rm."""

    id: str
    action: Action
    revision: int = 0
    version: str | None = None
    waited: Waited | None = None


class ActOutput(Output):
    """`nexthos publish|pause|draft|scale|restart|rm -o json`."""

    pipelines: list[Acted]


class RevisionOutput(Output):
    """One entry that was put."""

    revision: int
    created: float = Field(description="when it was put, seconds since the epoch")
    deleted: bool = Field(False, description="it is a delete or purge marker")
    status: str | None = Field(None, description="null: deleted, or not understood")
    version: str | None = None
    first: bool = Field(False, description="nothing before it to compare with is kept")
    changes: list[Difference] = Field(
        default_factory=list, description="against the revision before that is understood"
    )
    problem: str | None = Field(None, description="why it is not understood")


class HistoryOutput(Output):
    """`nexthos history -o json`: oldest first, the present one last."""

    id: str
    revisions: list[RevisionOutput]


class RollbackOutput(Output):
    """`nexthos rollback -o json`."""

    id: str
    dry_run: bool
    back_to: int = Field(description="the revision whose definition was put again")
    before: int = Field(description="the revision that was the present one")
    revision: int = Field(0, description="of the new entry; 0: not written, because of --dry-run")
    last_good: int = Field(
        0,
        description="the revision that last became ready; 0: none is known. Need not be `back_to`",
    )
    version: str | None = None
    status: str = Field(description="stays what it was before")
    changes: list[Difference] = Field(default_factory=list)
    waited: Waited | None = None


class Renewed(Output):
    """One pipeline of a `rollout`."""

    id: str
    result: Literal["rolled_out", "failed", "skipped"]
    revision: int = Field(0, description="of the entry that renews it; 0: not written")
    reason: Reason | None = None
    message: str = ""
    seconds: float = Field(0.0, description="how long it was waited for")


class RolloutOutput(Output):
    """`nexthos rollout -o json`: the pipelines that were outdated."""

    dry_run: bool
    pipelines: list[Renewed]


class AbandonOutput(Output):
    """`nexthos abandon -o json`."""

    place: str
    action: Literal["abandoned", "undone", "unchanged"]
    pipelines: list[str] = Field(description="those that may have executions there")


class WaitedFor(Waited):
    """What came of waiting, with the pipeline."""

    id: str


class WaitOutput(Output):
    """`nexthos wait -o json`."""

    pipelines: list[WaitedFor]


class LintedFile(Output):
    """One configuration that was checked."""

    file: str
    id: str | None = None
    ok: bool


class LintOutput(Output):
    """`nexthos lint -o json`; problems also stand in the error document on stderr."""

    files: list[LintedFile]
    problems: list[ProblemOutput] = Field(default_factory=list)
    warnings: list[ProblemOutput] = Field(
        default_factory=list, description="what would run, and perhaps not as it is meant"
    )
    skipped: list[SkippedFile] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list, description="what could not be checked here")


class EventsOutput(Stored, frozen=True, kw_only=True):
    """`nexthos events -o json`, oldest first."""

    events: list[Event]


class LogsOutput(Stored, frozen=True, kw_only=True):
    """`nexthos logs -o json`."""

    id: str
    lines: list[LogsLine]
    dropped: Annotated[int, doc("lines that were left out: too many for one answer")] = always(0)


class TopLine(Output):
    """One pipeline as `top` shows it. null: not known."""

    id: str
    phase: Phase | None = None
    ready: int = 0
    replicas: int = 0
    cpu_percent: float | None = Field(None, description="of one core")
    memory_bytes: int | None = Field(None, description="resident")
    received_per_second: float | None = None
    sent_per_second: float | None = None
    errors_per_second: float | None = None
    received: int | None = Field(None, description="messages in, since the engines' start")
    sent: int | None = Field(None, description="messages out, since the engines' start")
    errors: int | None = Field(None, description="of outputs and processors, since their start")
    restarts: int = 0
    reason: Reason | None = Field(None, description="why figures are null, or not of all of it")


class TopOutput(Output):
    """`nexthos top -o json`."""

    seconds: float = Field(description="between the two samples")
    pipelines: list[TopLine]
    total: int = Field(0, description="how many there are; at most 1,000 are shown")


class ExplainedReason(Output):
    """A reason, what it means, what to do."""

    reason: Reason
    meaning: str
    remedy: str


class ExplainOutput(Output):
    """`nexthos explain -o json`."""

    reasons: list[ExplainedReason]


class Check(Output):
    """One line of `doctor`."""

    name: str
    result: Literal["ok", "warn", "fail"]
    message: str
    remedy: str = Field("", description="what to do, where something is to be done")


class DoctorOutput(Output):
    """`nexthos doctor -o json`."""

    checks: list[Check]
    healthy: Annotated[bool, Field(description="no check failed")]


class AuthOutput(Output):
    """`nexthos auth ROLE -o json`: subjects for the allow lists of a NATS user."""

    role: str
    user: Annotated[str, Field(description="a name for the user; any other will do")]
    about: Annotated[str, Field(description="what the role is for, and what it can't be kept from")]
    publish: list[str]
    subscribe: list[str]


class SetupOutput(Output):
    """`nexthos setup -o json`: names of buckets, and of the stream of events."""

    created: list[str]
    existing: list[str]
    refused: dict[str, str] = Field(
        default_factory=dict, description="what could not be made, with the server's words"
    )
    changed: Annotated[dict[str, list[str]], Field(description="by stream, settings put right")]


class ErrorOutput(Output):
    """What stands on stderr after a failure of a command with `-o json`."""

    exit_code: int
    errors: list[ProblemOutput]
