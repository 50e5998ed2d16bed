"""What happened, as somebody knows who sees the store and the platforms, and no controller's mind.

Comes in: entries as they are stored and as the acting controller hears of them, lives as they begin and
end. Goes out: what can be concluded from that: which definition a life is of, how often it ended in a
row, what the last valid definition was.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from nexthos_controller.execution import Execution, Exit
from nexthos_shared import names
from nexthos_shared.model import Entry, Pipeline, Wanted
from nexthos_testing.machine.store import MemoryConfigs
from nexthos_testing.machine.world import BAD, Life

HEALTHY = 600.0  # seconds of running after which earlier ends no longer count
EXECUTORS = ("process", "docker")


@dataclass
class Tally:
    """How the lives of one replica went, one after the other, as long as its spec was the same."""

    spec: str
    last: Life
    row: int = 0  # ends in a row
    ends: int = 0
    ended_at: float | None = None  # the last end that delays the next start
    completed: bool = False


class Chronicle:
    """See the module."""

    def __init__(self, configs: MemoryConfigs) -> None:
        self._configs = configs
        self._definitions: dict[tuple[str, str], Pipeline] = {}
        self.written: dict[str, list[Entry]] = {}  # everything that was ever stored under a key
        self.known: dict[str, Entry | None] = {}  # what the acting controller heard of last
        self.published: dict[str, Pipeline] = {}  # the last one of these that could be read
        self.valid: dict[str, Pipeline] = {}  # the last one that nothing spoke against
        self._paused: set[str] = set()  # and never published since
        self.tallies: dict[tuple[str, int], Tally] = {}
        self.forgotten: set[str] = set()  # whose stored memory was damaged since it was complete
        self.digests: dict[tuple[str, str], list[str]] = {}  # that were ever stored
        self.changed_at: dict[str, float] = {}  # when an object of the pipeline changed last

    # ---- definitions

    def wrote(self, entry: Entry) -> None:
        """An entry was stored."""
        self.written.setdefault(entry.key, []).append(entry)

    def knows(self, key: str, entry: Entry | None) -> None:
        """The acting controller heard of an entry, or that there is none any more."""
        self.known[key] = entry
        if entry is None:
            return
        if entry.deleted or entry.wanted is Wanted.DRAFT:
            self._forget_tallies(key)
            self.valid.pop(key, None)
        elif entry.wanted is Wanted.PAUSED:
            self.valid.pop(key, None)
            self._paused.add(key)
            for tally in self._tallies(key):
                tally.row, tally.ended_at = 0, None
        elif entry.pipeline is not None:
            before = self.published.get(key)
            same = before is not None and before.same_shape(entry.pipeline)
            if not (same and before and before.replicas == entry.pipeline.replicas):
                self._forget_tallies(key)
            self.published[key] = entry.pipeline
            self._paused.discard(key)
            self._may_be_accepted(key)

    def _may_be_accepted(self, key: str) -> None:
        """Until everything is settled, nobody knows which of the two is the valid one."""
        entry = self.known.get(key)
        if self.is_valid(entry) and entry is not None and entry.pipeline != self.valid.get(key):
            self.valid.pop(key, None)

    def settled(self, let_go: Set[str]) -> None:
        """All that was heard of was looked at; of `let_go` nothing is left, and nothing remembered."""
        for key, entry in self.known.items():
            if entry is None:
                continue
            if entry.pipeline is not None and self.is_valid(entry):
                self.valid[key] = entry.pipeline
            if (entry.deleted or entry.wanted is Wanted.DRAFT) and key in let_go:
                self.published.pop(key, None)

    def is_valid(self, entry: Entry | None) -> bool:
        """Whether it is published and can run."""
        pipeline = entry.pipeline if entry else None
        if entry is None or pipeline is None or entry.wanted is not Wanted.PUBLISHED:
            return False
        content = self._configs.content(entry.key, pipeline.version or "")
        if content is None or content == BAD or pipeline.executor not in (None, *EXECUTORS):
            return False
        if pipeline.digest not in (None, names.digest_of(content)):
            return False
        return pipeline.resources.cpu is None  # what the fake can't limit it refuses

    def is_refused(self, entry: Entry | None) -> bool:
        """Whether it asks for something to run, or for nothing that can be read, and is not valid."""
        if entry is None or entry.deleted or entry.wanted in (Wanted.PAUSED, Wanted.DRAFT):
            return False
        return not self.is_valid(entry)

    def is_paused(self, entry: Entry) -> bool:
        """Whether it says so, or said so before its status became unreadable."""
        return entry.wanted is Wanted.PAUSED or (entry.wanted is None and entry.key in self._paused)

    def definition_of(self, execution: Execution) -> Pipeline | None:
        """The stored definition that shaped an execution, if there ever was one."""
        at = execution.id, execution.spec_hash
        if at not in self._definitions:
            for entry in reversed(self.written.get(execution.id, [])):
                if entry.pipeline is not None and matches(entry.pipeline, execution):
                    self._definitions[at] = entry.pipeline
                    break
        return self._definitions.get(at)

    def may_roll(self, execution: Execution) -> bool:
        """Whether a definition of this spec ever asked for a rolling update."""
        return any(
            e.pipeline.update.strategy == "rolling" and e.pipeline.lifecycle == "service"
            for e in self.written.get(execution.id, [])
            if e.pipeline is not None and matches(e.pipeline, execution)
        )

    # ---- lives

    def began(self, life: Life, now: float) -> Tally:
        """A controller started it; returns how its predecessors went."""
        tally = self.tallies.get(life.replica)
        if tally is None or tally.spec != life.spec:
            tally = self.tallies[life.replica] = Tally(life.spec, life)
        elif now - tally.last.began >= HEALTHY:
            tally.row = min(tally.row, 1)
        return tally

    def ended(self, life: Life, exit: Exit | None, now: float) -> None:
        """It ended, and no controller had asked for it."""
        if exit is not None and exit.signalled:
            return
        definition = self.definition_of(life.execution)
        job = definition is not None and definition.lifecycle == "job"
        life.outcome = "completed" if job and exit is not None and exit.code == 0 else "failed"
        tally = self.tallies.get(life.replica)
        if tally is None or tally.last is not life:
            return
        if life.outcome == "completed":
            tally.completed = True
            return
        tally.row = 1 if now - life.began >= HEALTHY else tally.row + 1
        tally.ends += 1
        tally.ended_at = now

    def asked(self, life: Life) -> None:
        """It had ended by itself, but while it was being stopped: that counts as asked for."""
        life.outcome = ""
        tally = self.tallies.get(life.replica)
        if tally is None or tally.last is not life or (not tally.completed and not tally.ends):
            return
        if tally.completed:
            tally.completed = False
        else:
            tally.row, tally.ends, tally.ended_at = max(tally.row - 1, 0), tally.ends - 1, None

    def taken_over(self, uids: Set[str]) -> None:
        """A new controller knows no more of some pipelines than can be seen, which is `uids`."""
        for key in self.forgotten:
            for tally in self._tallies(key):
                tally.row, tally.ends, tally.ended_at = 0, 0, None
                tally.completed = tally.completed and tally.last.execution.uid in uids

    def _tallies(self, key: str) -> Sequence[Tally]:
        return [tally for (owner, _), tally in self.tallies.items() if owner == key]

    def _forget_tallies(self, key: str) -> None:
        self.tallies = {at: tally for at, tally in self.tallies.items() if at[0] != key}

    # ---- objects

    def stored(self, key: str, version: str, content: bytes | None, now: float) -> None:
        """An object was stored, or removed."""
        self.changed_at[key] = now
        if content is not None:
            self.digests.setdefault((key, version), []).append(names.digest_of(content))
        self._may_be_accepted(key)

    def was_overwritten(self, key: str) -> bool:
        """Whether bytes that were stored for it once are not stored any more."""
        return any(
            content is None or {names.digest_of(content)} != set(stored)
            for (owner, version), stored in self.digests.items()
            if owner == key
            for content in [self._configs.content(owner, version)]
        )


def matches(pipeline: Pipeline, execution: Execution) -> bool:
    """Whether that definition shapes this execution."""
    return pipeline.spec_hash(execution.digest) == execution.spec_hash
