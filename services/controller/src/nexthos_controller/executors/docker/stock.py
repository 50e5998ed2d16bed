"""What is known of all containers of ours: kept equal to what the daemon says, at one look per change.

Comes in: short listings, the daemon's events, answers of probes. Goes out: lives by container and
pipeline, and hints. A listing tells a container's state, but not since when, nor how it ended: that is
asked once per life, and again whenever an event, or a gap between events, says that it may be another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import structlog

from nexthos_controller.execution import Execution, Exit, Owner, State, Stranger
from nexthos_controller.executors.docker.container import altered
from nexthos_controller.executors.docker.daemon import Daemon, Gone
from nexthos_controller.executors.docker.exits import TAIL, judge
from nexthos_controller.executors.docker.labels import labels_filter, namespace_filter, read_labels
from nexthos_controller.executors.docker.life import Life, nanoseconds, read_life, state_of
from nexthos_controller.executors.local.unread import entries_of
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.shared.probe import Asked, Entries, probe, report
from nexthos_shared.errors import NexthosError
from nexthos_shared.reasons import Problem

LISTENS_EVERY = 5.0  # seconds between looks at a log
HEARD = 100  # lines of it
NOTED_WITHIN = 200_000_000  # nanoseconds

log = structlog.get_logger(__name__)


class Record:
    """One container as it is known here at this moment."""

    def __init__(self, pipeline_id: str) -> None:
        self.id = pipeline_id
        self.life: Life | None = None
        self.exit: Exit | None = None
        self.ready: bool | None = None
        self.problem: Problem | None = None
        self.symptoms: tuple[Problem, ...] = ()  # what goes wrong while it runs
        self.doubtful = True  # it must be asked for before it is shown
        self.changed = asyncio.Event()  # whoever waits for its end looks again
        self.probing: asyncio.Task[None] | None = None

    def seen(self, place: str, outdated: str) -> Execution | None:
        """As the contract shows it; None while nothing is known of it."""
        life = self.life
        if life is None:
            return None
        labels = life.labels
        return Execution(
            name=life.name,
            id=labels.id,
            replica=labels.replica,
            uid=life.uid,
            executor="docker",
            place=place,
            spec_hash=labels.spec_hash,
            revision=labels.revision,
            digest=labels.digest,
            state=life.state,
            exit=self.exit if life.state == "stopped" else None,
            ready=self.ready if life.running else None,
            started_at=life.started / 10**9 if life.started else None,
            endpoint=life.endpoint,
            problem=self.problem if life.running else None,
            symptoms=self.symptoms if life.running else (),
            stop_timeout=labels.stop_timeout,
            outdated=outdated if life.running else "",
            altered=life.altered,
        )


class Stock:
    """Records of one owner at one daemon, by container id."""

    def __init__(self, daemon: Daemon, owner: Owner, hints: Hints, *, loopback: bool) -> None:
        self._daemon = daemon
        self._owner = owner
        self._hints = hints
        self._loopback = loopback
        self._records: dict[str, Record] = {}
        # What happened since each look that goes on began; "" for anything. By a name, or before there is
        # a record, a look can't know beforehand whose change would make its answer an old one.
        self._meanwhile: list[set[str]] = []

    # ---- what happened

    def changed(self, container: str, pipeline_id: str) -> None:
        """Something happened to a container."""
        record = self._records.get(container)
        for changes in self._meanwhile:
            changes.add(container)
        if record is not None:
            record.doubtful = True
            record.changed.set()
        if pipeline_id:
            self._hints.add(pipeline_id)

    def missed(self) -> None:
        """Anything may have happened."""
        for changes in self._meanwhile:
            changes.add("")
        for container, record in self._records.items():
            self.changed(container, record.id)

    # ---- looking

    async def refresh(self, pipeline_id: str | None = None) -> list[Record]:
        """Everything of ours, or of one pipeline. Raises ExecutorUnreachable."""
        found = await self._daemon.containers(labels_filter(self._owner, pipeline_id))
        listed = {c["Id"]: c for c in found if read_labels(c.get("Labels")) is not None}
        for container, record in list(self._records.items()):
            if container not in listed and pipeline_id in (None, record.id):
                self._forget(container)
        asked = [c for c, short in listed.items() if self._is_news(c, state_of(short["State"]))]
        await asyncio.gather(*(self.look(container) for container in asked))
        return [r for container in listed if (r := self._records.get(container)) is not None]

    async def strangers(self) -> frozenset[Stranger]:
        """What runs of our namespace and another installation. Raises ExecutorUnreachable."""
        found = await self._daemon.containers(namespace_filter(self._owner))
        running = (c for c in found if state_of(c["State"]) == "running")
        labels = (told for c in running if (told := read_labels(c.get("Labels"))) is not None)
        return frozenset(
            Stranger(told.owner.installation, told.id)
            for told in labels
            if told.owner.namespace == self._owner.namespace and told.owner != self._owner
        )

    def _is_news(self, container: str, state: State) -> bool:
        known = self._records.get(container)
        return known is None or known.doubtful or known.life is None or known.life.state != state

    async def look(self, container: str) -> Record | None:
        """Ask for one container, by id or name; None if there is none of ours."""
        known = self._records.get(container)
        if known is not None:
            known.doubtful = False  # before asking: what happens meanwhile makes it doubtful again
        changes: set[str] = set()
        self._meanwhile.append(changes)
        try:
            inspected = await self._daemon.inspect(container)
        except Gone:
            self._forget(container)
            return None
        except BaseException:
            if known is not None:
                known.doubtful = True
            raise
        finally:
            self._meanwhile[:] = [c for c in self._meanwhile if c is not changes]
        life = read_life(inspected, self._loopback)
        if life is None or life.labels.owner != self._owner:
            self._forget(inspected["Id"])
            return None
        life = replace(life, altered=altered(inspected))
        record = self._records.setdefault(life.container, Record(life.labels.id))
        record.doubtful = not changes.isdisjoint((life.container, ""))
        if record.doubtful:
            self._hints.add(record.id)  # the one of that change may have been read already
        await self._take(record, life)
        return record

    async def change_of(self, container: str) -> None:
        """Wait until something happens to it, as far as events tell."""
        record = self._records.get(container)
        if record is None:
            return
        record.changed.clear()
        if not record.doubtful:
            await record.changed.wait()

    async def _take(self, record: Record, life: Life) -> None:
        before = record.life
        same = before is not None and before.uid == life.uid and before.state == life.state
        if same and (life.running or record.exit is not None or life.state == "prepared"):
            record.life = life
            return
        self._stop_asking(record)
        ended = await self._exit_of(life) if life.state == "stopped" else None
        record.life, record.exit = life, ended
        record.ready, record.problem, record.symptoms = None, None, ()
        record.changed.set()
        if life.running and life.endpoint is not None:
            logged = _Logged(self._daemon, life)
            asked = Asked(life.endpoint, life.token, life.secrets, logged=logged)
            say = _Saying(record, life.uid, self._hints)
            record.probing = asyncio.create_task(probe(asked, say), name=f"probe {life.name}")
            record.probing.add_done_callback(report)

    async def _exit_of(self, life: Life) -> Exit:
        try:
            signals, tail = await asyncio.gather(
                self._signals_to(life), self._daemon.tail(life.container, TAIL, life.started)
            )
        except Gone:
            signals, tail = set(), b""
        return judge(life, signals, (text for _, text in timed(tail)))

    async def _signals_to(self, life: Life) -> set[str]:
        """The daemon notes a signal after it was sent: what it ended may have ended before the note."""
        at_once = await self._daemon.signals(life.container, life.started, life.finished + 1)
        return at_once or await self._daemon.signals(
            life.container, life.started, life.finished + NOTED_WITHIN
        )

    # ---- letting go

    def _forget(self, container: str) -> None:
        record = self._records.pop(container, None)
        if record is not None:
            self._stop_asking(record)
            record.life = None
            record.changed.set()
            self._hints.add(record.id)

    def _stop_asking(self, record: Record) -> None:
        if record.probing is not None:
            record.probing.cancel()
            record.probing = None

    async def close(self) -> None:
        """Let go of everything; nothing is ended by this."""
        probes = [r.probing for r in self._records.values() if r.probing is not None]
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)


def timed(log: bytes) -> Iterable[tuple[str, str]]:
    """Lines of a log as (time, text), as the daemon gives them with times."""
    for line in log.decode("utf-8", "replace").splitlines():
        time, _, text = line.partition(" ")
        yield time, text


class _Logged:
    """What a life logged since the last look; the daemon is asked seldom, at most for its last lines."""

    def __init__(self, daemon: Daemon, life: Life) -> None:
        self._daemon = daemon
        self._life = life
        self._since = life.started
        self._next = 0.0

    async def __call__(self) -> Entries:
        loop = asyncio.get_running_loop()
        if loop.time() < self._next:
            return ()
        self._next = loop.time() + LISTENS_EVERY
        try:
            tail = await self._daemon.tail(self._life.container, HEARD, self._since)
        except (Gone, NexthosError):
            return ()
        lines = [
            (at, text) for time, text in timed(tail) if (at := nanoseconds(time)) > self._since
        ]
        if lines:
            self._since = max(at for at, _ in lines)
        raw = (text.encode(errors="replace") for _, text in lines)
        return entries_of(raw, self._life.labels.id)


class _Saying:
    """What a probe finds, noted in the record of the life that it asked."""

    def __init__(self, record: Record, uid: str, hints: Hints) -> None:
        self._record = record
        self._uid = uid
        self._hints = hints

    def __call__(
        self, ready: bool | None, problem: Problem | None, symptoms: tuple[Problem, ...]
    ) -> None:
        record = self._record
        if record.life is not None and record.life.uid == self._uid and record.life.running:
            record.ready, record.problem, record.symptoms = ready, problem, symptoms
            self._hints.add(record.id)
