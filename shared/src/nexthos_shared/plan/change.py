"""What an `apply` would change, decided from a manifest and what is stored; nothing is written here.

Comes in: a manifest, the stored entry, the stored configuration's facts. Goes out: a `Change` with the
bytes to write and the revision they rest on, or `Refused`. The manifest is the whole truth, except that
an omitted `status` or `restart_nonce` keeps what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from nexthos_shared.errors import Refused
from nexthos_shared.manifest.fields import misfit
from nexthos_shared.manifest.manifest import Manifest
from nexthos_shared.model import MAX_DEFINITION_BYTES, Pipeline, Wanted, read_entry
from nexthos_shared.plan.differences import Difference, described, differences
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.untrusted_json import read_json, read_object

if TYPE_CHECKING:
    from nexthos_shared.store import ConfigInfo, KvEntry


@dataclass(frozen=True, slots=True)
class Change:
    """One pipeline's way from what is stored to what is in the file."""

    manifest: Manifest
    pipeline: Pipeline
    action: Literal["created", "configured", "unchanged"]
    based_on: int  # revision of the key's last entry; 0: none
    put_config: bool
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def entry(self) -> bytes:
        """The bytes of the entry."""
        return entry_bytes(self.pipeline)

    @property
    def writes(self) -> bool:
        """Whether applying it writes anything."""
        return self.action != "unchanged" or self.put_config


def entry_bytes(pipeline: Pipeline) -> bytes:
    """A definition as stored: what the user wrote, the two deciding fields first."""
    value = pipeline.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    if not value.get("restart_nonce"):
        value.pop("restart_nonce", None)
    first = {key: value.pop(key) for key in ("status", "version", "id") if key in value}
    return json.dumps(first | value, separators=(",", ":"), ensure_ascii=False).encode()


def decide(manifest: Manifest, stored: KvEntry | None, info: ConfigInfo | None) -> Change:
    """The change, from facts alone. Raises Refused."""
    pipeline = _definition(manifest, stored)
    if problems := list(_refusals(manifest, pipeline, info)):
        raise Refused(problems)
    put_config = manifest.content is not None and info is None
    based_on = stored.revision if stored else 0
    if stored is None or stored.value is None:
        return Change(manifest, pipeline, "created", based_on, put_config)
    entry = read_entry(manifest.id, stored.revision, stored.value)
    if entry.pipeline is None:
        words = (
            f"replaces an entry that is not understood: {entry.problem and entry.problem.message}"
        )
        return Change(manifest, pipeline, "configured", based_on, put_config, (), (words,))
    changed = tuple(differences(_comparable(entry.pipeline, pipeline, info), pipeline))
    action: Literal["configured", "unchanged"] = (
        "configured" if changed or put_config else "unchanged"
    )
    return Change(manifest, pipeline, action, based_on, put_config, changed)


def _definition(manifest: Manifest, stored: KvEntry | None) -> Pipeline:
    wanted, nonce = manifest.wanted, 0
    if stored is not None and stored.value is not None:
        entry = read_entry(manifest.id, stored.revision, stored.value)
        wanted = wanted or entry.wanted
        nonce = entry.pipeline.restart_nonce if entry.pipeline else 0
    try:
        pipeline = manifest.pipeline(wanted or Wanted.PUBLISHED, nonce)
    except ValidationError as error:
        raise Refused(misfit(error, manifest.document, manifest.file)) from error
    size = len(entry_bytes(pipeline))
    if size > MAX_DEFINITION_BYTES:
        words = f"the definition has {size} bytes, at most {MAX_DEFINITION_BYTES} are allowed"
        raise Refused([manifest.problem(Reason.INVALID_DEFINITION, words)])
    return pipeline


def _refusals(manifest: Manifest, pipeline: Pipeline, info: ConfigInfo | None) -> Iterator[Problem]:
    name = f"{manifest.id}/{pipeline.version}"
    if manifest.content is None and info is None and pipeline.status is Wanted.PUBLISHED:
        words = f"no configuration {name} is stored, and the manifest has no `config`"
        yield manifest.problem(Reason.CONFIG_MISSING, words, "version")
    elif info is None or pipeline.digest in (None, info.digest):
        return
    elif manifest.content is None:
        words = f"the stored configuration {name} is {info.digest}"
        yield manifest.problem(Reason.DIGEST_MISMATCH, words, "digest")
    else:
        words = f"{name} is stored with other bytes, and a version never changes: name a new one"
        yield manifest.problem(Reason.CONFIG_CHANGED, words, "version")


def _comparable(stored: Pipeline, new: Pipeline, info: ConfigInfo | None) -> Pipeline:
    """Take as written what is only left out: the id, and the digest of the very same bytes."""
    same_bytes = info is not None and info.digest == new.digest and stored.version == new.version
    digest = new.digest if stored.digest is None and same_bytes else stored.digest
    return stored.model_copy(update={"id": new.id, "digest": digest})


# What an operator changes without a manifest: `publish`, `pause`, `draft`, `publish --version`, scaling.
_OPERATORS = {"status", "version", "digest", "replicas", "restart_nonce"}
_VERBS = {"paused": "nexthos pause", "draft": "nexthos draft", "published": "nexthos publish"}


def undone(revisions: Sequence[dict[str, Any]], new: Pipeline) -> list[str]:
    """What of an operator's doing the new definition undoes; `revisions` are oldest first."""
    if not revisions:
        return []
    now, notes = revisions[-1], []
    if now.get("status") in _VERBS and now["status"] != str(new.status):
        notes.append(f"undoes `{_VERBS[now['status']]}`")
    if now.get("version") != new.version and new.version in {r.get("version") for r in revisions}:
        notes.append("goes back to an earlier version")
    if now.get("replicas", 1) != new.replicas and _by_hand(revisions, "replicas"):
        notes.append(f"undoes a scaling to {now.get('replicas', 1)}")
    return notes


def _by_hand(revisions: Sequence[dict[str, Any]], field: str) -> bool:
    """Whether the last change of `field` touched nothing but what operators change."""
    for old, new in zip(reversed(revisions[:-1]), reversed(revisions[1:]), strict=True):
        if old.get(field) != new.get(field):
            changed = {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)}
            return changed <= _OPERATORS
    return False


def revisions_of(history: Sequence[KvEntry]) -> list[dict[str, Any]]:
    """The definitions since the last deletion, oldest first, as they were written."""
    found: list[dict[str, Any]] = []
    for entry in history:
        value = read_object(entry.value)
        if value is not None:
            found.append(value)
        elif entry.value is None or read_json(entry.value) is not None:
            found.clear()  # deleted: what came before is another pipeline's life
    return found


def describe(change: Change) -> str:
    """One line, as kubectl writes it."""
    parts = [described(d) for d in change.differences]
    if change.action == "created":
        parts = [f"version {change.pipeline.version}", str(change.pipeline.status)]
    elif not parts and change.put_config and not change.notes:
        parts = ["its configuration was missing"]
    details = f" ({', '.join(parts)})" if parts else ""
    notes = f"; {'; '.join(change.notes)}" if change.notes else ""
    return f"pipeline/{change.manifest.id} {change.action}{details}{notes}"
