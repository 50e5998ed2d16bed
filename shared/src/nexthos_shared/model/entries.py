"""What stands in an entry of a bucket, as far as it can be understood. Never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nexthos_shared.model import PipelineStatus, stored
from nexthos_shared.untrusted_json import read_object

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry  # whose import loads NATS


def read_status(entry: KvEntry | None) -> PipelineStatus | None:
    """The status, or None if there is none or if it can't be understood (a newer controller's)."""
    return stored.read(PipelineStatus, entry.value) if entry is not None else None


def read_definition(entry: KvEntry | None) -> dict[str, Any] | None:
    """The definition as it was written, or None if there is none or if it is no JSON object."""
    return read_object(entry.value) if entry else None
