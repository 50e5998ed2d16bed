"""What the store keeps of a pipeline's past, and the way back to some of it.

Comes in: the entries of a key's history. Goes out: `Revision`s, oldest first; for a rollback the one to go
back to and the bytes to write. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nexthos_shared.errors import ConfigChanged, ConfigMissing, InvalidDefinition, NotFound
from nexthos_shared.model import Entry, Pipeline, PipelineStatus, Wanted, read_entry
from nexthos_shared.names import config_object
from nexthos_shared.plan.differences import Difference, differences
from nexthos_shared.plan.edit import Raw, to_bytes
from nexthos_shared.untrusted_json import read_object

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry, Store


@dataclass(frozen=True, slots=True)
class Revision:
    """One entry of a key, as it was put. `changes`: against the one before that was understood."""

    entry: Entry
    created: float  # seconds since the epoch
    value: bytes | None
    changes: tuple[Difference, ...] = ()
    first: bool = False  # the first understood one that is kept, or the first after a deletion

    @property
    def number(self) -> int:
        """The revision."""
        return self.entry.revision

    @property
    def pipeline(self) -> Pipeline | None:
        """The definition, if it is understood."""
        return self.entry.pipeline

    @property
    def raw(self) -> Raw:
        """Every field as its writer wrote it; for a revision that is understood."""
        found = read_object(self.value)
        if found is None:
            words = f"revision {self.number} is JSON beyond the bounds that are read here"
            raise InvalidDefinition(words)
        return found


async def kept(store: Store, key: str) -> list[Revision]:
    """The revisions that are kept, the present one last. Raises NotFound."""
    history = await store.pipelines.history(key)
    if not history:
        raise NotFound(f"no pipeline {key!r} is stored, and nothing of it is kept")
    return list(read_history(history))


def read_history(history: Sequence[KvEntry]) -> Iterator[Revision]:
    """Understand each, as far as can be; what comes after a deletion is another life."""
    before: Pipeline | None = None
    for stored in history:
        entry = read_entry(stored.key, stored.revision, stored.value)
        now, changes = entry.pipeline, tuple[Difference, ...]()
        if now is not None and before is not None:
            changes = tuple(_differences(before, now))
        first = now is not None and before is None
        yield Revision(entry, stored.created, stored.value, changes, first)
        before = None if entry.deleted else now or before


def _differences(old: Pipeline, new: Pipeline) -> Iterator[Difference]:
    """The id says nothing new: it is the key, written down or not."""
    return differences(*(p.model_copy(update={"id": None}) for p in (old, new)))


@dataclass(frozen=True, slots=True)
class WayBack:
    """A rollback: the revision whose definition comes back, and what is written for it."""

    present: Revision
    back_to: Revision
    status: Wanted
    value: bytes
    changes: tuple[Difference, ...]

    @property
    def version(self) -> str | None:
        """The version that comes back."""
        return self.back_to.pipeline.version if self.back_to.pipeline else None


def way_back(
    key: str, revisions: Sequence[Revision], number: int | None, version: str | None
) -> WayBack:
    """The way to the revision that is asked for. Raises NotFound, InvalidDefinition.

    The definition comes back whole, except for two fields. `status` stays what it is: going back neither
    starts nor stops anything. `restart_nonce` stays at least what it is: it only ever grows, since lower
    it would name a spec that ran before, and what a restart released would be held again.
    """
    present = revisions[-1]
    back_to = _choose(key, revisions, number, version)
    old = back_to.pipeline
    if old is None:
        why = back_to.entry.problem.message if back_to.entry.problem else "it is a deletion"
        raise InvalidDefinition(
            f"pipeline {key!r}: revision {back_to.number} can't come back: {why}"
        )
    status = present.entry.wanted or old.status
    nonce = max(r.pipeline.restart_nonce for r in revisions if r.pipeline)
    if status is Wanted.PUBLISHED and old.version is None:
        words = f"pipeline {key!r}: revision {back_to.number} names no version to run"
        raise InvalidDefinition(words, field="version")
    new = old.model_copy(update={"status": status, "restart_nonce": nonce})
    now = present.pipeline
    changes = tuple(_differences(now, new)) if now else ()
    if now is not None and not changes:
        words = f"pipeline {key!r}: the definition of revision {back_to.number} is the present one"
        raise NotFound(f"{words}; `nexthos history {key}` shows the others")
    raw = back_to.raw | {"status": str(status)} | ({"restart_nonce": nonce} if nonce else {})
    return WayBack(present, back_to, status, to_bytes(raw), changes)


def _choose(
    key: str, revisions: Sequence[Revision], number: int | None, version: str | None
) -> Revision:
    if number is not None:
        found = [r for r in revisions if r.number == number]
        numbers = ", ".join(str(r.number) for r in revisions)
        missing = f"revision {number} is not kept; kept are {numbers}"
    elif version is not None:
        found = [r for r in revisions if r.pipeline and r.pipeline.version == version]
        versions = dict.fromkeys(r.pipeline.version or "-" for r in revisions if r.pipeline)
        missing = (
            f"no revision that is kept names version {version!r}; kept are {', '.join(versions)} "
            f"(`nexthos publish {key} --version {version}` runs it with the present definition)"
        )
    else:
        if revisions[-1].entry.deleted:
            words = f"pipeline {key!r} is deleted; name the --revision that is to come back"
            raise NotFound(f"{words} (`nexthos history {key}`)")
        found = list(_earlier(revisions))
        missing = (
            "no earlier definition that is kept differs in more than replicas "
            f"(`nexthos history {key}` lists them, `nexthos rollback {key} --revision N` picks one)"
        )
    if not found:
        raise NotFound(f"pipeline {key!r}: {missing}")
    return found[-1]


def _earlier(revisions: Sequence[Revision]) -> Iterator[Revision]:
    """Those of this life whose definition shapes another execution than the present one, oldest first."""
    deletions = [n for n, r in enumerate(revisions) if r.entry.deleted]
    now = revisions[-1].pipeline
    for revision in revisions[deletions[-1] + 1 if deletions else 0 : -1]:
        then = revision.pipeline
        if then is not None and then.version and (now is None or not _same_shape(then, now)):
            yield revision


def _same_shape(then: Pipeline, now: Pipeline) -> bool:
    """As `Pipeline.same_shape`, restarts aside, and with the bytes that they pin."""
    restarted = then.model_copy(update={"restart_nonce": now.restart_nonce})
    return restarted.same_shape(now) and (then.digest or now.digest) == (now.digest or then.digest)


async def check_config(
    store: Store, key: str, back_to: Revision, status: PipelineStatus | None
) -> None:
    """Raise unless the bytes that ran then can still be had: ConfigMissing, ConfigChanged.

    They are known by the digest that the definition pins, or that the controller pinned when it accepted
    that version.
    """
    old = back_to.pipeline
    if old is None or old.version is None:
        return
    name, of = config_object(key, old.version), f"revision {back_to.number}"
    info = await store.configs.info(key, old.version)
    if info is None:
        words = f"put it again under that name, or choose another (`nexthos history {key}`)"
        raise ConfigMissing(f"pipeline {key!r}: the configuration {name} of {of} is gone: {words}")
    ran = status.accepted_digests(old.version) if status else set()
    pinned = {old.digest} if old.digest else ran
    if pinned and info.digest not in pinned:
        words = f"is now {info.digest}, and {of} ran as {', '.join(sorted(pinned))}"
        raise ConfigChanged(
            f"pipeline {key!r}: the configuration {name} {words}: put those bytes again"
        )
