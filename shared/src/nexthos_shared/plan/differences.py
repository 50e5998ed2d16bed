"""What differs between two definitions of a pipeline, field by field, and how that is said.

Comes in: definitions. Goes out: `Difference`s, and words. Values of variables never stand in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nexthos_shared.model import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that changes. Values of variables are left out."""

    field: str
    before: Any = None
    after: Any = None


def differences(old: Pipeline, new: Pipeline) -> Iterator[Difference]:
    """Fields that differ, defaults filled in; of variables only that they do."""
    before, after = _dump(old), _dump(new)
    for field in after:
        if before[field] == after[field] or (field == "digest" and old.version != new.version):
            continue
        if isinstance(after[field], dict):
            yield from _inside(field, before[field] or {}, after[field])
        else:
            yield Difference(field=field, before=before[field], after=after[field])


def _inside(field: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if field == "env":
            old, new = (None if v is None else f"${{{key}}}" for v in (old, new))
        yield Difference(field=f"{field}.{key}", before=old, after=new)


def _dump(pipeline: Pipeline) -> dict[str, Any]:
    return pipeline.model_dump(mode="json", by_alias=True)


def described(difference: Difference) -> str:
    """One difference for people, `replicas 1 -> 3`."""
    before, after = difference.before, difference.after
    if difference.field.startswith("env.") or difference.field in ("description", "digest"):
        verb = "added" if before is None else "removed" if after is None else "changed"
        return f"{difference.field} {verb}"
    return f"{difference.field} {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    if value in (None, ""):
        return "-"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
