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

from msgspec import Meta
from pydantic import Field

from nexthos_shared.model.event import Event
from nexthos_shared.model.pipeline import Digest, Strict
from nexthos_shared.model.quantities import Duration
from nexthos_shared.model.status import Phase, PipelineStatus
from nexthos_shared.model.stored import Stored, always
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


AsOf = Annotated[
    float | None,
    Meta(description="a standby read this from the store then; absent: who acts says so"),
]


class PipelineReply(Stored, frozen=True, kw_only=True):
    """One pipeline: the definition as stored, what is wrong with it, and its status."""

    id: Annotated[str, Meta(description="the key of its entry")]
    revision: Annotated[int, Meta(description="of its entry; 0: there is none")]
    definition: Annotated[
        dict[str, Any] | None, Meta(description="as stored; absent if it is not JSON")
    ] = None
    problem: Annotated[str | None, Meta(description="why the entry is refused")] = None
    status: Annotated[PipelineStatus | None, Meta(description="absent: not reconciled yet")] = None
    events: Annotated[list[Event], Meta(description="the last ones, oldest first")] = always([])
    as_of: AsOf = None


class ExecutorReport(Stored, frozen=True, kw_only=True):
    """One executor that the controller offers."""

    name: Annotated[str, Meta(description="as in `executor` of a definition")]
    default: Annotated[bool, Meta(description="it runs what names no executor")]
    reachable: Annotated[bool, Meta(description="it answered within 2 seconds")]
    places: Annotated[list[str], Meta(description="places that answered in full")] = always([])
    executions: Annotated[int, Meta(description="how many it lists, of all pipelines")] = always(0)
    message: Annotated[str, Meta(description="why it is not reachable")] = always("")


class LeaderReport(Stored, frozen=True, kw_only=True):
    """The controller that acts."""

    controller: Annotated[str, Meta(description="its name")]
    host: Annotated[str, Meta(description="the machine that it runs on")]
    since: Annotated[float, Meta(description="seconds since the epoch")]


class ControllerReply(Stored, frozen=True, kw_only=True):
    """The controller itself."""

    controller: Annotated[str, Meta(description="its name")]
    version: Annotated[str, Meta(description="of nexthos")]
    namespace: Annotated[str, Meta(description="whose pipelines it keeps")]
    installation: Annotated[str, Meta(description="which store this is")]
    started_at: Annotated[float, Meta(description="seconds since the epoch")]
    ready: Annotated[bool, Meta(description="as at /readyz")]
    acts: Annotated[
        bool, Meta(description="false: it stands by, and takes over when `leader` ends")
    ] = always(True)
    leader: Annotated[
        LeaderReport | None, Meta(description="who acts, as far as the store knows")
    ] = None
    problems: Annotated[
        list[Problem], Meta(description="what is wrong with the store, or with what is told")
    ] = always([])
    risks: Annotated[
        list[Problem], Meta(description="what its settings let authors of pipelines do")
    ] = always([])
    store: Annotated[str, Meta(description="the NATS server's URL, without credentials")]
    engine: Annotated[str, Meta(description="version of the default engine")]
    pipelines: Annotated[int, Meta(description="definitions that are stored")]
    phases: Annotated[dict[Phase, int], Meta(description="how many are in each phase")] = always({})
    queued: Annotated[int, Meta(description="pipelines that wait to be reconciled")]
    executors: Annotated[list[ExecutorReport], Meta(description="those that it offers")] = always(
        []
    )
    as_of: AsOf = None


class Summary(Stored, frozen=True, kw_only=True):
    """One line of `list`."""

    id: Annotated[str, Meta(description="the key of its entry")]
    wanted: Annotated[
        str | None, Meta(description="published, paused, draft; absent: not understood")
    ]
    phase: Annotated[Phase | None, Meta(description="absent: not reconciled yet")] = None
    ready: Annotated[int, Meta(description="executions ready now")] = always(0)
    replicas: Annotated[int, Meta(description="executions wanted now")] = always(0)
    version: Annotated[str | None, Meta(description="version that runs")] = None
    wanted_version: Annotated[str | None, Meta(description="version that the entry names")] = None
    restarts: Annotated[int, Meta(description="unexpected exits of the current spec")] = always(0)
    executor: Annotated[str | None, Meta(description="the executor that runs it")] = None
    reason: Annotated[Reason | None, Meta(description="of its most urgent condition")] = None
    message: Annotated[str, Meta(description="of that condition")] = always("")
    labels: Annotated[dict[str, str], Meta(description="of its definition")] = always({})
    revision: Annotated[int, Meta(description="of its entry")] = always(0)
    updated_at: Annotated[
        float, Meta(description="when its status was written, seconds since the epoch")
    ] = always(0.0)


class ListReply(Stored, frozen=True, kw_only=True):
    """A page in order of id; `cursor` is absent on the last one."""

    pipelines: list[Summary]
    cursor: Annotated[str | None, Meta(description="for the request of the next page")] = None
    total: Annotated[int, Meta(description="how many match, on all pages")]
    as_of: AsOf = None


class Outcome(Stored, frozen=True, kw_only=True):
    """What came of looking at one pipeline again."""

    id: Annotated[str, Meta(description="the key of its entry")]
    phase: Annotated[Phase | None, Meta(description="absent: nothing is known of it")] = None
    settled: Annotated[bool, Meta(description="nothing is left to do for the stored revision")]
    reason: Annotated[Reason | None, Meta(description="of its most urgent condition")] = None
    message: Annotated[str, Meta(description="of that condition")] = always("")


class ReconcileReply(Stored, frozen=True, kw_only=True):
    """Outcomes; `unsettled` counts those that are still on their way."""

    outcomes: Annotated[list[Outcome], Meta(description="at most 500, the unsettled ones first")]
    unsettled: Annotated[int, Meta(description="how many are still on their way")]


class LogsLine(Stored, frozen=True, kw_only=True):
    """One line, or a part of one that is very long."""

    execution: Annotated[str, Meta(description="what its executor calls it")]
    replica: Annotated[int, Meta(description="which replica wrote it, from 0")]
    stream: Annotated[Literal["log", "output"], Meta(description="log: the engine's own log")]
    time: Annotated[
        float | None, Meta(description="seconds since the epoch, if the line says so")
    ] = None
    text: Annotated[str, Meta(description="the line, without its end")]
    more: Annotated[
        bool, Meta(description="the next line of this execution is the rest of this one")
    ] = False


class LogsReply(Stored, frozen=True, kw_only=True):
    """Lines in the order in which they came; without follow in order of time."""

    lines: list[LogsLine]
    dropped: Annotated[
        int, Meta(description="lines before these that were left out: too many, too fast")
    ] = always(0)
    replicas: Annotated[int, Meta(description="how many replicas are wanted now")] = always(0)


class LogsEnd(StrEnum):
    """Why the lines end: the value of the header `Nexthos-Logs-End`."""

    COMPLETE = (
        "Complete"  # all that was asked for; with follow: nothing runs, nothing will by itself
    )
    DELETED = "Deleted"
    DRAFT = "Draft"
    CONTROLLER_STOPPED = "ControllerStopped"  # ask again: another one may answer


class Figures(Stored, frozen=True, kw_only=True):
    """What engines say of themselves. Absent: not known."""

    received: Annotated[int | None, Meta(description="messages in, since the engine's start")] = (
        None
    )
    sent: Annotated[int | None, Meta(description="messages out, since the engine's start")] = None
    errors: Annotated[
        int | None, Meta(description="of outputs and processors, since its start")
    ] = None
    cpu_seconds: Annotated[float | None, Meta(description="since the engine's start")] = None
    memory_bytes: Annotated[
        int | None, Meta(description="resident now; absent where it does not run")
    ] = None


class ExecutionUsage(Figures, frozen=True, kw_only=True):
    """One execution; counters begin anew with another `uid`."""

    execution: Annotated[str, Meta(description="what its executor calls it")]
    uid: Annotated[str, Meta(description="unique to this life of it")]
    replica: Annotated[int, Meta(description="which replica it is, from 0")]
    running: bool
    at: Annotated[float, Meta(description="when it was read, seconds since the epoch")]
    reason: Annotated[Reason | None, Meta(description="why figures are absent")] = None


class Usage(Figures, frozen=True, kw_only=True):
    """One pipeline: the sums over its executions, as far as they are known."""

    id: Annotated[str, Meta(description="the key of its entry")]
    phase: Annotated[Phase | None, Meta(description="absent: not reconciled yet")] = None
    ready: Annotated[int, Meta(description="executions ready now")] = always(0)
    replicas: Annotated[int, Meta(description="executions wanted now")] = always(0)
    restarts: Annotated[int, Meta(description="unexpected exits of the current spec")] = always(0)
    executions: Annotated[list[ExecutionUsage], Meta(description="by replica")] = always([])
    reason: Annotated[
        Reason | None, Meta(description="why figures are absent, or not of all of it")
    ] = None


class UsageReply(Stored, frozen=True, kw_only=True):
    """A page in order of id; it ends early where there are many executions."""

    pipelines: list[Usage]
    cursor: Annotated[str | None, Meta(description="for the request of the next page")] = None
    total: Annotated[int, Meta(description="how many match, on all pages")]


class ErrorReply(Stored, frozen=True, kw_only=True):
    """Body of an error."""

    code: Annotated[int, Meta(description="as in HTTP")]
    reason: Annotated[Reason, Meta(description="one word, as in `nexthos explain`")]
    message: Annotated[str, Meta(description="the cause in a sentence")]
