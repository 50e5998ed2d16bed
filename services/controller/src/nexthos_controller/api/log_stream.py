"""The endpoint `logs`: the engines' lines of one pipeline, over all executors, replicas and restarts.

Comes in: a request and an outlet. Goes out: lines, as messages through that outlet. What has ended and
what runs is read from the executors alone, by their contract. A reader that follows sees each life of
the pipeline: what is started later is read from its first line on.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

import structlog

from nexthos_controller.api.endpoint import Outlet, ReaderGone
from nexthos_controller.api.log_lines import YIELD_EVERY, Waiting, message, messages, pieces
from nexthos_controller.api.selection import existing, is_gone
from nexthos_controller.cache.executions import Observed
from nexthos_controller.execution import Execution, LogLine
from nexthos_controller.loop.reconciler import Controller
from nexthos_shared.engine.messages import LogMask
from nexthos_shared.errors import ExecutorUnreachable, NexthosError, TooManyRequests
from nexthos_shared.model import (
    LOGS_END_HEADER,
    LOGS_HEARTBEAT,
    MOST_LINES,
    LogsEnd,
    LogsRequest,
    Wanted,
)

MOST_FOLLOWERS = 16  # at once, of all pipelines
MOST_READERS = 4  # of tails at once; more wait: each may hold ANSWER_BYTES
ANSWER_BYTES = 16 * 1024 * 1024  # of one tail
FIRST_WORD = 0.5  # seconds until a follower that has nothing to tell says so
LOOK_EVERY = 1.0  # seconds between looks at what runs, if no status is written before
RESUMED = (
    500  # lines of a log that go on in its next life: enough for what is written until we look
)

log = structlog.get_logger(__name__)

Stamped = tuple[float, bytes]


class LogStreams:
    """All streams of one controller; only counts them."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._followers = 0
        self._tails = asyncio.Semaphore(MOST_READERS)

    async def stream(self, request: LogsRequest, outlet: Outlet) -> None:
        """Answer one request. Raises NotFound, InvalidName, TooManyRequests, ExecutorUnreachable."""
        key = existing(self._controller, request.id)
        try:
            end = await (self._follow if request.follow else self._tail)(key, request, outlet)
        except ReaderGone:
            return
        except asyncio.CancelledError:
            await outlet.end({LOGS_END_HEADER: LogsEnd.CONTROLLER_STOPPED})
            raise
        await outlet.end({LOGS_END_HEADER: end})

    async def _tail(self, key: str, request: LogsRequest, outlet: Outlet) -> LogsEnd:
        async with self._tails:
            lines, dropped = await _newest(self._controller, key, request, outlet.most)
            replicas = _replicas(self._controller, key)
            for body in messages(lines, dropped, replicas, outlet.most):
                await outlet.send(body)
        return LogsEnd.COMPLETE

    async def _follow(self, key: str, request: LogsRequest, outlet: Outlet) -> LogsEnd:
        if self._followers >= MOST_FOLLOWERS:
            words = f"{MOST_FOLLOWERS} readers follow logs already: end one, or ask without follow"
            raise TooManyRequests(words)
        self._followers += 1
        try:
            return await _Following(self._controller, key, request, outlet).run()
        finally:
            self._followers -= 1


# ---- what there is


async def _newest(
    controller: Controller, key: str, request: LogsRequest, most: int
) -> tuple[list[bytes], int]:
    """The last lines of each execution, merged by time, and how many were too many."""
    seen = await controller.observed(key)
    if seen.silent and not seen.executions:
        raise ExecutorUnreachable(seen.silent[0].message, reason=seen.silent[0].reason)
    kept: list[Stamped] = []
    dropped = 0
    for execution in _of_replica(seen, request):
        read = await _stamped(controller, execution, request.tail, most)
        kept = list(heapq.merge(kept, read, key=lambda stamped: stamped[0]))
        surplus = _surplus(kept)
        dropped += surplus
        del kept[:surplus]
    return [piece for _, piece in kept], dropped


async def _stamped(
    controller: Controller, execution: Execution, tail: int, most: int
) -> list[Stamped]:
    """Lines with their times; one without has that of the line before it."""
    stamped: list[Stamped] = []
    time = execution.started_at or 0.0
    mask = _mask(controller, execution.id)
    executor = controller.executors[execution.executor]
    async for line in executor.logs(execution, tail=tail):
        time = line.time if line.time is not None else time
        shown = replace(line, text=mask(line.text))
        stamped += ((time, piece) for piece in pieces(execution, shown, most))
        if len(stamped) % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return stamped


def _mask(controller: Controller, key: str) -> LogMask:
    """What hides the values of its definition: of the one that is stored, and of the one that runs."""
    entry, status = controller.desired.entry(key), controller.statuses.status(key)
    current = status.memory.current if status else None
    stored = entry.pipeline.env if entry and entry.pipeline else {}
    return LogMask({**(current.definition.env if current else {}), **stored})


def _surplus(lines: list[Stamped]) -> int:
    """How many of the oldest are more than one answer may hold."""
    size = 0
    for count, (_, piece) in enumerate(reversed(lines)):
        size += len(piece)
        if count == MOST_LINES or size > ANSWER_BYTES:
            return len(lines) - count
    return 0


def _of_replica(seen: Observed, request: LogsRequest) -> Iterable[Execution]:
    wanted = request.replica
    return (e for e in seen.executions if e.uid and wanted in (None, e.replica))


def _replicas(controller: Controller, key: str) -> int:
    status = controller.statuses.status(key)
    return status.replicas if status else 0


# ---- what comes


class _Following:
    """One reader that follows one pipeline."""

    def __init__(
        self, controller: Controller, key: str, request: LogsRequest, outlet: Outlet
    ) -> None:
        self._controller = controller
        self._key = key
        self._request = request
        self._outlet = outlet
        self._waiting = Waiting(most=outlet.most)
        self._readers: dict[tuple[str, str], asyncio.Task[None]] = {}  # by name and life
        self._last: dict[str, deque[int]] = {}  # hashes of the last lines, by name

    async def run(self) -> LogsEnd:
        """Until nothing can come any more. Raises ReaderGone."""
        try:
            async with asyncio.TaskGroup() as tasks:
                end = tasks.create_task(self._watch(tasks))
                tasks.create_task(self._send())
        except BaseExceptionGroup as group:
            gone = group.subgroup(ReaderGone)
            raise (ReaderGone() if gone is not None else group.exceptions[0]) from group
        return end.result()

    async def _send(self) -> None:
        within, probe = FIRST_WORD, message((), 0, self._wanted)
        while (taken := await self._waiting.take(within)) is not None:
            await self._outlet.ask(message(*taken, self._wanted), probe)
            within = LOGS_HEARTBEAT

    @property
    def _wanted(self) -> int:
        return _replicas(self._controller, self._key)

    async def _watch(self, tasks: asyncio.TaskGroup) -> LogsEnd:
        tail: int | None = self._request.tail
        while True:
            seen = await self._controller.observed(self._key)
            for execution in _of_replica(seen, self._request):
                self._read(execution, tail, tasks)
            tail = None
            if (end := self._end(seen)) is not None:
                break
            await self._change()
        await asyncio.gather(*self._readers.values())  # they end by themselves: nothing runs
        self._waiting.close()
        return end

    async def _change(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY):
                await self._controller.statuses.changed(self._key)
        except TimeoutError:
            return

    def _end(self, seen: Observed) -> LogsEnd | None:
        """Why nothing more will come, if that is known."""
        if seen.silent or any(e.state == "running" for e in seen.executions):
            return None
        if is_gone(self._controller, self._key):
            return LogsEnd.DELETED
        entry = self._controller.desired.entry(self._key)
        if entry is None:
            return None
        if entry.wanted is Wanted.DRAFT:
            return LogsEnd.DRAFT
        status = self._controller.statuses.status(self._key)
        over = status is not None and status.phase.is_over
        if over and status is not None and status.observed_revision == entry.revision:
            return LogsEnd.COMPLETE
        return None

    def _read(self, execution: Execution, tail: int | None, tasks: asyncio.TaskGroup) -> None:
        """See that this life is read. `tail` is for what is there when it all begins."""
        life = (execution.name, execution.uid)
        reader = self._readers.get(life)
        if reader is None or (reader.done() and execution.state == "running"):
            before = [t for (name, _), t in self._readers.items() if name == execution.name]
            self._readers[life] = tasks.create_task(self._reader(execution, tail, before))

    async def _reader(
        self, execution: Execution, tail: int | None, before: list[asyncio.Task[None]]
    ) -> None:
        if before:
            await asyncio.wait(before)
        try:
            await self._pass_on(execution, tail)
        except (NexthosError, OSError) as error:  # it is tried again while it runs
            log.debug("log not read", execution=execution.name, error=str(error))

    async def _pass_on(self, execution: Execution, tail: int | None) -> None:
        """Each line of this life once; a log that goes on after a restart begins with old ones."""
        logs = self._controller.executors[execution.executor].logs
        last = self._last.get(execution.name)
        if last is None:
            last = self._last[execution.name] = deque(maxlen=RESUMED)
            known = frozenset[int]()
            if tail is not None and tail < RESUMED:  # what was not asked for must be known as old
                async for line in logs(execution, tail=RESUMED):
                    last.append(_hash(line))
            lines = logs(execution, tail=MOST_LINES if tail is None else tail, follow=True)
        else:
            known = frozenset(last)
            lines = logs(execution, tail=RESUMED, follow=True)
        mask = _mask(self._controller, execution.id)
        async for line in lines:
            if known and (known := known if _hash(line) in known else frozenset()):
                continue
            last.append(_hash(line))
            shown = replace(line, text=mask(line.text))
            for piece in pieces(execution, shown, self._outlet.most):
                await self._waiting.put(piece)


def _hash(line: LogLine) -> int:
    return hash((line.stream, line.time, line.text))
