"""What stands in an entry of a bucket, as far as it can be understood. Never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nexthos_shared.foreign import read_model, read_object
from nexthos_shared.models import PipelineStatus

if TYPE_CHECKING:
    from nexthos_shared.stores import KvEntry  # whose import loads NATS


def read_status(stored: KvEntry | None) -> PipelineStatus | None:
    """The status, or None if there is none or if it can't be understood (a newer controller's)."""
    if stored is None or stored.value is None:
        return None
    return read_model(PipelineStatus, stored.value)


def read_definition(stored: KvEntry | None) -> dict[str, Any] | None:
    """The definition as it was written, or None if there is none or if it is no JSON object."""
    return read_object(stored.value) if stored else None
