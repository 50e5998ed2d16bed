"""An event: one transition of one pipeline, as a CloudEvent 1.0 in JSON on the stream `<ns>-events`.

Events tell what happened, in the order in which it was reported; nothing decides by them. Subject on
NATS: `<ns>.events.<pipeline>.<reason>`; what concerns the controller has `_controller` there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from nexthos_shared.model.status import Phase
from nexthos_shared.model.stored import Count, Stored, always, doc
from nexthos_shared.reasons import Reason


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


class EventData(Stored, frozen=True, kw_only=True):
    """What happened, in the words of the status."""

    pipeline: Annotated[str, doc("its id; empty for what concerns the controller")]
    reason: Annotated[Reason, doc("one word, as in `nexthos explain`")]
    message: Annotated[str, doc("what happened, in a sentence")] = always("")
    phase: Annotated[Phase | None, doc("after it; absent when it was deleted")] = None
    before: Annotated[Phase | None, doc("before it; absent when it had no status yet")] = None
    version: Annotated[str | None, doc("version that ran, or was being started")] = None
    revision: Annotated[Count, doc("revision of the entry that was observed")] = always(0)
    restarts: Annotated[Count, doc("unexpected exits of the current spec, in all")] = always(0)
    bad: Annotated[bool, doc("somebody may have to do something about it")] = always(False)


class Event(Stored, frozen=True, kw_only=True):
    """The CloudEvents 1.0 envelope. `id` is the same when one transition is published twice."""

    specversion: Literal["1.0"] = always("1.0")
    id: Annotated[str, doc("unique among the events of `source`")]
    source: Annotated[str, doc("nexthos/<namespace>/<controller>")]
    type: Annotated[EventType, doc("the kind of transition")]
    subject: Annotated[str, doc("the pipeline's id; `_controller` for what concerns none")]
    time: Annotated[str, doc("RFC 3339, UTC")]
    datacontenttype: Literal["application/json"] = always("application/json")
    data: Annotated[EventData, doc("what happened")]

    def __post_init__(self) -> None:
        """Raises ValueError, or OverflowError in the year 1, for a `time` that is none."""
        datetime.fromisoformat(self.time).timestamp()

    @property
    def seconds(self) -> float:
        """`time` in seconds since the epoch."""
        return datetime.fromisoformat(self.time).timestamp()


def event_time(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
