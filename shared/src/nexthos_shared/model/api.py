"""Requests and replies of the micro service `<ns>`; their JSON Schemas stand in the endpoint metadata.

JSON in (at most 256 KiB) and out. Errors go as NATS service headers and as `ErrorReply`.

`logs` answers with several messages: `LogsReply`s of at most 64 KiB, then one with an empty body and
the header `Nexthos-Logs-End`, which says why that was all (`LogsEnd`). With `follow` each of them but
the last asks for an answer, which may be empty: it is sent when the lines are taken, and the next
message comes after it. While there are no lines an empty `LogsReply` comes every 5 seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from nexthos_shared.model.event import Event
from nexthos_shared.model.pipeline import Digest, Strict
from nexthos_shared.model.quantities import Duration
from nexthos_shared.model.status import Phase, PipelineStatus, Stored
from nexthos_shared.reasons import Problem, Reason

MAX_REQUEST_BYTES = 256 * 1024
DEFAULT_TIMEOUT = 4.0  # seconds; the `nats` CLI gives up after 5
LONGEST_TIMEOUT = 300.0  # seconds
LOGS_END_HEADER = "Nexthos-Logs-End"
LOGS_MESSAGE_BYTES = 64 * 1024
LOGS_HEARTBEAT = 5.0  # seconds
MOST_LINES = 10_000  # of one answer that is not followed
CONFIG_PART_BYTES = 256 * 1024  # of one reply, less where the server lets less through


class StatusRequest(Strict):
    """Without id: the controller itself."""

    id: str | None = None


class ListRequest(Strict):
    """Selects and pages; `cursor` is the `cursor` of the page before."""

    phase: Annotated[Phase, Field(strict=False)] | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: str | None = None


class ReconcileRequest(Strict):
    """Without id: every pipeline. Waits for the outcome for at most `timeout`.

    From 5 seconds on the answer comes earlier where nobody seems to wait for it: NATS knows whether
    somebody listens beside the reply subject, as clients do that have one subscription for all replies.
    """

    id: str | None = None
    timeout: Annotated[Duration, Field(le=LONGEST_TIMEOUT)] = DEFAULT_TIMEOUT


class LogsRequest(Strict):
    """The engines' lines of one pipeline, of one replica or of all."""

    id: str
    tail: Annotated[int, Field(ge=0, le=MOST_LINES)] = Field(
        100, description="how many of the last lines, per execution"
    )
    follow: bool = Field(
        False, description="also what comes, until nothing of it can come any more"
    )
    replica: Annotated[int, Field(ge=0)] | None = None


class UsageRequest(Strict):
    """Selects (by id, by label or all) and pages; `cursor` is the `cursor` of the page before."""

    ids: Annotated[list[str], Field(max_length=1000)] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: str | None = None


class ConfigRequest(Strict):
    """A part of a pipeline's configuration, asked on `<ns>.svc.config.<id>`; the reply is bytes.

    Its headers `Nexthos-Digest` and `Nexthos-Size` are those of the whole.
    """

    version: str
    digest: Digest | None = Field(None, description="no other bytes: sha256:<hex>")
    offset: Annotated[int, Field(ge=0, le=1024 * 1024)] = Field(0, description="of the first byte")


class PipelineReply(Stored):
    """One pipeline: the definition as stored, what is wrong with it, and its status."""

    id: str
    revision: int
    definition: dict[str, Any] | None = Field(None, description="as stored; null if it is not JSON")
    problem: str | None = None
    status: PipelineStatus | None = None
    events: list[Event] = Field(default_factory=list, description="the last ones, oldest first")
    as_of: float | None = Field(
        None, description="a standby read this from the store then; null: who acts says so"
    )


class ExecutorReport(Stored):
    """One executor that the controller offers."""

    name: str
    default: bool
    reachable: bool
    places: list[str] = Field(default_factory=list)
    executions: int = 0
    message: str = ""


class LeaderReport(Stored):
    """The controller that acts."""

    controller: str
    host: str
    since: float = Field(description="seconds since the epoch")


class ControllerReply(Stored):
    """The controller itself."""

    controller: str
    version: str
    namespace: str
    installation: str
    started_at: float = Field(description="seconds since the epoch")
    ready: bool
    acts: bool = Field(True, description="false: it stands by, and takes over when `leader` ends")
    leader: LeaderReport | None = Field(None, description="who acts, as far as the store knows")
    problems: list[Problem] = Field(
        default_factory=list, description="what is wrong with the store, or with what is told"
    )
    risks: list[Problem] = Field(
        default_factory=list, description="what its settings let authors of pipelines do"
    )
    store: str = Field(description="the NATS server's URL, without credentials")
    engine: str
    pipelines: int
    phases: dict[Phase, int] = Field(default_factory=dict)
    queued: int
    executors: list[ExecutorReport] = Field(default_factory=list)
    as_of: float | None = Field(
        None, description="a standby read this from the store then; null: who acts says so"
    )


class Summary(Stored):
    """One line of `list`."""

    id: str
    wanted: str | None
    phase: Phase | None = Field(None, description="null: not reconciled yet")
    ready: int = 0
    replicas: int = 0
    version: str | None = Field(None, description="version that runs")
    wanted_version: str | None = None
    restarts: int = 0
    executor: str | None = None
    reason: Reason | None = None
    message: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    revision: int = 0
    updated_at: float = 0.0


class ListReply(Stored):
    """A page in order of id; `cursor` is null on the last one."""

    pipelines: list[Summary]
    cursor: str | None = None
    total: int = Field(description="how many match, on all pages")
    as_of: float | None = Field(
        None, description="a standby read this from the store then; null: who acts says so"
    )


class Outcome(Stored):
    """What came of looking at one pipeline again."""

    id: str
    phase: Phase | None = None
    settled: bool = Field(description="nothing is left to do for the stored revision")
    reason: Reason | None = None
    message: str = ""


class ReconcileReply(Stored):
    """Outcomes; `unsettled` counts those that are still on their way."""

    outcomes: list[Outcome]
    unsettled: int


class LogsLine(Stored):
    """One line, or a part of one that is very long."""

    execution: str
    replica: int
    stream: Literal["log", "output"] = Field(description="log: the engine's own log")
    time: float | None = Field(None, description="seconds since the epoch, if the line says so")
    text: str
    more: bool = Field(False, description="the next line of this execution is the rest of this one")


class LogsReply(Stored):
    """Lines in the order in which they came; without follow in order of time."""

    lines: list[LogsLine]
    dropped: int = Field(0, description="lines before these that were left out: too many, too fast")
    replicas: int = Field(0, description="how many replicas are wanted now")


class LogsEnd(StrEnum):
    """Why the lines end: the value of the header `Nexthos-Logs-End`."""

    COMPLETE = (
        "Complete"  # all that was asked for; with follow: nothing runs, nothing will by itself
    )
    DELETED = "Deleted"
    DRAFT = "Draft"
    CONTROLLER_STOPPED = "ControllerStopped"  # ask again: another one may answer


class Figures(Stored):
    """What engines say of themselves. null: not known."""

    received: int | None = Field(None, description="messages in, since the engine's start")
    sent: int | None = Field(None, description="messages out, since the engine's start")
    errors: int | None = Field(None, description="of outputs and processors, since its start")
    cpu_seconds: float | None = Field(None, description="since the engine's start")
    memory_bytes: int | None = Field(None, description="resident now; null where it does not run")


class ExecutionUsage(Figures):
    """One execution; counters begin anew with another `uid`."""

    execution: str
    uid: str
    replica: int
    running: bool
    at: float = Field(description="when it was read, seconds since the epoch")
    reason: Reason | None = Field(None, description="why figures are null")


class Usage(Figures):
    """One pipeline: the sums over its executions, as far as they are known."""

    id: str
    phase: Phase | None = Field(None, description="null: not reconciled yet")
    ready: int = 0
    replicas: int = 0
    restarts: int = 0
    executions: list[ExecutionUsage] = Field(default_factory=list)
    reason: Reason | None = Field(None, description="why figures are null, or not of all of it")


class UsageReply(Stored):
    """A page in order of id; it ends early where there are many executions."""

    pipelines: list[Usage]
    cursor: str | None = None
    total: int = Field(description="how many match, on all pages")


class ErrorReply(Stored):
    """Body of an error: `code` as in HTTP, `reason` as in `nexthos explain`."""

    code: int
    reason: Reason
    message: str
