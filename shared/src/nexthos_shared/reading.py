"""What stands in an entry of a bucket, as far as it can be understood. Never raises."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nexthos_shared.models import PipelineStatus

if TYPE_CHECKING:
    from nexthos_shared.stores import KvEntry  # whose import loads NATS


def read_status(stored: KvEntry | None) -> PipelineStatus | None:
    """The status, or None if there is none or if it can't be understood (a newer controller's)."""
    if stored is None or stored.value is None:
        return None
    try:
        return PipelineStatus.model_validate_json(stored.value)
    except ValueError:
        return None


def read_definition(stored: KvEntry | None) -> dict[str, Any] | None:
    """The definition as it was written, or None if there is none or if it is no JSON object."""
    try:
        value = json.loads(stored.value) if stored and stored.value else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
