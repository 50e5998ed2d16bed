"""Requests and replies of the micro service `<ns>`; their JSON Schemas stand in the endpoint metadata.

JSON in (at most 256 KiB) and out. Errors go as NATS service headers and as `ErrorReply`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from nexthos_shared.models.pipeline import Strict
from nexthos_shared.models.quantities import Duration
from nexthos_shared.models.status import Phase, PipelineStatus, Stored
from nexthos_shared.reasons import Reason

MAX_REQUEST_BYTES = 256 * 1024
DEFAULT_TIMEOUT = 4.0  # seconds; the `nats` CLI gives up after 5


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
    """Without id: every pipeline. Waits for the outcome for at most `timeout`."""

    id: str | None = None
    timeout: Duration = DEFAULT_TIMEOUT


class PipelineReply(Stored):
    """One pipeline: the definition as stored, what is wrong with it, and its status."""

    id: str
    revision: int
    definition: dict[str, Any] | None = Field(None, description="as stored; null if it is not JSON")
    problem: str | None = None
    status: PipelineStatus | None = None


class ExecutorReport(Stored):
    """One executor that the controller offers."""

    name: str
    default: bool
    reachable: bool
    places: list[str] = Field(default_factory=list)
    executions: int = 0
    message: str = ""


class ControllerReply(Stored):
    """The controller itself."""

    controller: str
    version: str
    namespace: str
    installation: str
    started_at: float = Field(description="seconds since the epoch")
    ready: bool
    store: str = Field(description="the NATS server's URL, without credentials")
    engine: str
    pipelines: int
    phases: dict[Phase, int] = Field(default_factory=dict)
    queued: int
    executors: list[ExecutorReport] = Field(default_factory=list)


class Summary(Stored):
    """One line of `list`."""

    id: str
    wanted: str | None
    phase: Phase | None = Field(None, description="null: not yet looked at")
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


class ErrorReply(Stored):
    """Body of an error: `code` as in HTTP, `reason` as in `nexthos explain`."""

    code: int
    reason: Reason
    message: str
