"""What stands in an entry of a bucket, as far as it can be understood. Never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from nexthos_shared.model import PipelineStatus
from nexthos_shared.untrusted_json import MOST_BYTES, read_object

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry  # whose import loads NATS

M = TypeVar("M", bound=BaseModel)


def read_model(model: type[M], data: bytes | str | None, *, most: int = MOST_BYTES) -> M | None:
    """The model in `data`; None where it is none. What its own validators raise counts as the data's fault.

    pydantic has a bound of depth of its own (200); how large numbers may be is for the model to say.
    """
    if not data or len(data) > most:
        return None
    try:
        return model.model_validate_json(data)
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return None


def read_status(stored: KvEntry | None) -> PipelineStatus | None:
    """The status, or None if there is none or if it can't be understood (a newer controller's)."""
    if stored is None or stored.value is None:
        return None
    return read_model(PipelineStatus, stored.value)


def read_definition(stored: KvEntry | None) -> dict[str, Any] | None:
    """The definition as it was written, or None if there is none or if it is no JSON object."""
    return read_object(stored.value) if stored else None
