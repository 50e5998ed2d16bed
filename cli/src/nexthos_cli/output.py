"""What `-o json` prints, one model per command: `nexthos schema output-<command>` shows the schema.

Fields are added, never renamed. Models are built when first used: start-up time is a figure.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from nexthos_shared.models import (
    ControllerReply,
    Phase,
    PipelineReply,
    ReconcileReply,
)
from nexthos_shared.reasons import Reason

Goal = Literal["ready", "paused", "draft", "completed", "deleted"]


class Output(BaseModel):
    """One JSON document."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")


class PipelineLine(Output):
    """One pipeline as `ls` shows it."""

    id: str
    wanted: str | None = Field(None, description="published, paused, draft; null: not understood")
    deleted: bool = Field(False, description="the key is gone, something of it is still there")
    phase: Phase | None = Field(None, description="null: not looked at yet")
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
    result: Literal["there", "failed", "not in time"]
    phase: Phase | None = None
    reason: Reason | None = None
    message: str = ""
    seconds: float = Field(description="how long it was waited for")


class Difference(Output):
    """One field that changes. Values of variables are left out."""

    field: str
    before: Any = None
    after: Any = None


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


class Acted(Output):
    """One pipeline of publish, pause, draft or rm."""

    id: str
    action: Literal["published", "paused", "drafted", "deleted", "unchanged"]
    revision: int = 0
    version: str | None = None
    waited: Waited | None = None


class ActOutput(Output):
    """`nexthos publish|pause|draft|rm -o json`."""

    pipelines: list[Acted]


class WaitedFor(Waited):
    """What came of waiting, with the pipeline."""

    id: str


class WaitOutput(Output):
    """`nexthos wait -o json`."""

    pipelines: list[WaitedFor]


class StatusOutput(RootModel[PipelineReply | ControllerReply]):
    """`nexthos status [ID] -o json`: a pipeline, or without id the controller."""

    model_config = ConfigDict(defer_build=True)


class ReconcileOutput(ReconcileReply):
    """`nexthos reconcile -o json`."""


class ProblemOutput(Output):
    """One thing that is wrong."""

    reason: Reason
    message: str
    field: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None


class LintedFile(Output):
    """One configuration that was checked."""

    file: str
    id: str | None = None
    ok: bool


class LintOutput(Output):
    """`nexthos lint -o json`; problems also stand in the error document on stderr."""

    files: list[LintedFile]
    problems: list[ProblemOutput] = Field(default_factory=list)
    skipped: list[SkippedFile] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list, description="what could not be checked here")


class ExecutionLog(Output):
    """The lines of one execution."""

    execution: str
    path: str
    lines: list[str]


class LogsOutput(Output):
    """`nexthos logs -o json`."""

    id: str
    executions: list[ExecutionLog]


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


class SetupOutput(Output):
    """`nexthos setup -o json`."""

    created: list[str]
    existing: list[str]


class ErrorOutput(Output):
    """What stands on stderr after a failure of a command with `-o json`."""

    exit_code: int
    errors: list[ProblemOutput]
