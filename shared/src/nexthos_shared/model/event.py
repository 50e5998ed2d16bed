"""An event: one transition of one pipeline, as a CloudEvent 1.0 in JSON on the stream `<ns>-events`.

Events tell what happened, in the order in which it was reported; nothing decides by them. Subject on
NATS: `<ns>.events.<pipeline>.<reason>`; what concerns the controller has `_controller` there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nexthos_shared.model.quantities import Count
from nexthos_shared.model.status import Phase, Stored
from nexthos_shared.reasons import Reason


def _is_time(text: str) -> str:
    datetime.fromisoformat(text).timestamp()  # raises ValueError, or OverflowError in the year 1
    return text


class EventType(StrEnum):
    """What kind of transition it was."""

    PHASE = "nexthos.pipeline.phase"  # the phase is another one
    CONDITION = "nexthos.pipeline.condition"  # a condition came, went, or has another reason
    RESTART = "nexthos.pipeline.restart"  # an end that nobody asked for was counted
    DRIFT = (
        "nexthos.pipeline.drift"  # something was found otherwise than it was left, and put right
    )
    DELETED = "nexthos.pipeline.deleted"  # no trace is left of it
    TAKEOVER = "nexthos.controller.takeover"  # another controller acts


class EventData(Stored):
    """What happened, in the words of the status."""

    pipeline: str = Field(description="its id; empty for what concerns the controller")
    reason: Reason
    message: str = ""
    phase: Phase | None = Field(None, description="after it; null when it was deleted")
    before: Phase | None = Field(None, description="before it; null when it was never looked at")
    version: str | None = Field(None, description="version that ran, or was being started")
    revision: Count = Field(0, description="revision of the entry that was observed")
    restarts: Count = Field(0, description="ends of the present spec that nobody asked for, in all")
    bad: bool = Field(False, description="somebody may have to do something about it")


class Event(Stored):
    """The CloudEvents 1.0 envelope. `id` is the same when one transition is published twice."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = Field(description="nexthos/<namespace>/<controller>")
    type: EventType
    subject: str = Field(description="the pipeline's id; `_controller` for what concerns none")
    time: Annotated[str, AfterValidator(_is_time)] = Field(description="RFC 3339, UTC")
    datacontenttype: Literal["application/json"] = "application/json"
    data: EventData

    @property
    def seconds(self) -> float:
        """`time` in seconds since the epoch."""
        return datetime.fromisoformat(self.time).timestamp()


def event_time(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
