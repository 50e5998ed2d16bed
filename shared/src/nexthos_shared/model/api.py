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
from nexthos_shared.model.status import Phase, PipelineStatus
from nexthos_shared.model.stored import Stored, always, doc
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
    float | None, doc("a standby read this from the store then; absent: who acts says so")
]


class PipelineReply(Stored, frozen=True, kw_only=True):
    """One pipeline: the definition as stored, what is wrong with it, and its status."""

    id: Annotated[str, doc("the key of its entry")]
    revision: Annotated[int, doc("of its entry; 0: there is none")]
    definition: Annotated[dict[str, Any] | None, doc("as stored; absent if it is not JSON")] = None
    problem: Annotated[str | None, doc("why the entry is refused")] = None
    status: Annotated[PipelineStatus | None, doc("absent: not reconciled yet")] = None
    events: Annotated[list[Event], doc("the last ones, oldest first")] = always([])
    as_of: AsOf = None


class ExecutorReport(Stored, frozen=True, kw_only=True):
    """One executor that the controller offers."""

    name: Annotated[str, doc("as in `executor` of a definition")]
    default: Annotated[bool, doc("it runs what names no executor")]
    reachable: Annotated[bool, doc("it answered within 2 seconds")]
    places: Annotated[list[str], doc("places that answered in full")] = always([])
    executions: Annotated[int, doc("how many it lists, of all pipelines")] = always(0)
    message: Annotated[str, doc("why it is not reachable")] = always("")


class LeaderReport(Stored, frozen=True, kw_only=True):
    """The controller that acts."""

    controller: Annotated[str, doc("its name")]
    host: Annotated[str, doc("the machine that it runs on")]
    since: Annotated[float, doc("seconds since the epoch")]


class ControllerReply(Stored, frozen=True, kw_only=True):
    """The controller itself."""

    controller: Annotated[str, doc("its name")]
    version: Annotated[str, doc("of nexthos")]
    namespace: Annotated[str, doc("whose pipelines it keeps")]
    installation: Annotated[str, doc("which store this is")]
    started_at: Annotated[float, doc("seconds since the epoch")]
    ready: Annotated[bool, doc("as at /readyz")]
    acts: Annotated[bool, doc("false: it stands by, and takes over when `leader` ends")] = always(
        True
    )
    leader: Annotated[LeaderReport | None, doc("who acts, as far as the store knows")] = None
    problems: Annotated[
        list[Problem], doc("what is wrong with the store, or with what is told")
    ] = always([])
    risks: Annotated[list[Problem], doc("what its settings let authors of pipelines do")] = always(
        []
    )
    store: Annotated[str, doc("the NATS server's URL, without credentials")]
    engine: Annotated[str, doc("version of the default engine")]
    pipelines: Annotated[int, doc("definitions that are stored")]
    phases: Annotated[dict[Phase, int], doc("how many are in each phase")] = always({})
    queued: Annotated[int, doc("pipelines that wait to be reconciled")]
    executors: Annotated[list[ExecutorReport], doc("those that it offers")] = always([])
    as_of: AsOf = None


class Summary(Stored, frozen=True, kw_only=True):
    """One line of `list`."""

    id: Annotated[str, doc("the key of its entry")]
    wanted: Annotated[str | None, doc("published, paused, draft; absent: not understood")]
    phase: Annotated[Phase | None, doc("absent: not reconciled yet")] = None
    ready: Annotated[int, doc("executions ready now")] = always(0)
    replicas: Annotated[int, doc("executions wanted now")] = always(0)
    version: Annotated[str | None, doc("version that runs")] = None
    wanted_version: Annotated[str | None, doc("version that the entry names")] = None
    restarts: Annotated[int, doc("unexpected exits of the current spec")] = always(0)
    executor: Annotated[str | None, doc("the executor that runs it")] = None
    reason: Annotated[Reason | None, doc("of its most urgent condition")] = None
    message: Annotated[str, doc("of that condition")] = always("")
    labels: Annotated[dict[str, str], doc("of its definition")] = always({})
    revision: Annotated[int, doc("of its entry")] = always(0)
    updated_at: Annotated[float, doc("when its status was written, seconds since the epoch")] = (
        always(0.0)
    )


class ListReply(Stored, frozen=True, kw_only=True):
    """A page in order of id; `cursor` is absent on the last one."""

    pipelines: list[Summary]
    cursor: Annotated[str | None, doc("for the request of the next page")] = None
    total: Annotated[int, doc("how many match, on all pages")]
    as_of: AsOf = None


class Outcome(Stored, frozen=True, kw_only=True):
    """What came of looking at one pipeline again."""

    id: Annotated[str, doc("the key of its entry")]
    phase: Annotated[Phase | None, doc("absent: nothing is known of it")] = None
    settled: Annotated[bool, doc("nothing is left to do for the stored revision")]
    reason: Annotated[Reason | None, doc("of its most urgent condition")] = None
    message: Annotated[str, doc("of that condition")] = always("")


class ReconcileReply(Stored, frozen=True, kw_only=True):
    """Outcomes; `unsettled` counts those that are still on their way."""

    outcomes: Annotated[list[Outcome], doc("at most 500, the unsettled ones first")]
    unsettled: Annotated[int, doc("how many are still on their way")]


class LogsLine(Stored, frozen=True, kw_only=True):
    """One line, or a part of one that is very long."""

    execution: Annotated[str, doc("what its executor calls it")]
    replica: Annotated[int, doc("which replica wrote it, from 0")]
    stream: Annotated[Literal["log", "output"], doc("log: the engine's own log")]
    time: Annotated[float | None, doc("seconds since the epoch, if the line says so")] = None
    text: Annotated[str, doc("the line, without its end")]
    more: Annotated[bool, doc("the next line of this execution is the rest of this one")] = False


class LogsReply(Stored, frozen=True, kw_only=True):
    """Lines in the order in which they came; without follow in order of time."""

    lines: list[LogsLine]
    dropped: Annotated[int, doc("lines before these that were left out: too many, too fast")] = (
        always(0)
    )
    replicas: Annotated[int, doc("how many replicas are wanted now")] = always(0)


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

    received: Annotated[int | None, doc("messages in, since the engine's start")] = None
    sent: Annotated[int | None, doc("messages out, since the engine's start")] = None
    errors: Annotated[int | None, doc("of outputs and processors, since its start")] = None
    cpu_seconds: Annotated[float | None, doc("since the engine's start")] = None
    memory_bytes: Annotated[int | None, doc("resident now; absent where it does not run")] = None


class ExecutionUsage(Figures, frozen=True, kw_only=True):
    """One execution; counters begin anew with another `uid`."""

    execution: Annotated[str, doc("what its executor calls it")]
    uid: Annotated[str, doc("unique to this life of it")]
    replica: Annotated[int, doc("which replica it is, from 0")]
    running: bool
    at: Annotated[float, doc("when it was read, seconds since the epoch")]
    reason: Annotated[Reason | None, doc("why figures are absent")] = None


class Usage(Figures, frozen=True, kw_only=True):
    """One pipeline: the sums over its executions, as far as they are known."""

    id: Annotated[str, doc("the key of its entry")]
    phase: Annotated[Phase | None, doc("absent: not reconciled yet")] = None
    ready: Annotated[int, doc("executions ready now")] = always(0)
    replicas: Annotated[int, doc("executions wanted now")] = always(0)
    restarts: Annotated[int, doc("unexpected exits of the current spec")] = always(0)
    executions: Annotated[list[ExecutionUsage], doc("by replica")] = always([])
    reason: Annotated[Reason | None, doc("why figures are absent, or not of all of it")] = None


class UsageReply(Stored, frozen=True, kw_only=True):
    """A page in order of id; it ends early where there are many executions."""

    pipelines: list[Usage]
    cursor: Annotated[str | None, doc("for the request of the next page")] = None
    total: Annotated[int, doc("how many match, on all pages")]


class ErrorReply(Stored, frozen=True, kw_only=True):
    """Body of an error."""

    code: Annotated[int, doc("as in HTTP")]
    reason: Annotated[Reason, doc("one word, as in `nexthos explain`")]
    message: Annotated[str, doc("the cause in a sentence")]
