"""How streams end: asked to, by themselves, or with their host; and what is kept of a life that is over.

Comes in: records and hosts. Goes out: ends, noted in the records.

A stream can't be killed alone. What stands for SIGTERM is a DELETE, which drains it for as long as its
connection lasts; what stands for SIGKILL is closing that connection, upon which the host tells all of its
components to end at once. A component that does not (it is stuck in a call) holds its stream, and that
is told as StillRunning each time. Its host gets no more streams from then on, and as soon as no other
stream lives in it, the host is killed, and with it what was stuck. So a stuck stream costs its
neighbours nothing, and ends when they have gone.

A DELETE goes on when whoever waited for it is cancelled or may not act any more, as a process goes on
draining after its SIGTERM; only the end of this controller cuts it short.

There is no exit code of a stream. One that ends by itself exited with 0: errors in it end nothing, they are
retried. One whose host will not have it exited with 1, as an engine does that can't read its file.
What the end of a host means is `suspicion`'s to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from nexthos_controller import failpoints
from nexthos_controller.execution import Exit
from nexthos_controller.executors.local.folders import replace_file
from nexthos_controller.executors.local.shim import EXIT, KILLED, noted, tail_of
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.streams import lines, suspicion
from nexthos_controller.executors.streams.api import NotOurs, Silent
from nexthos_controller.executors.streams.handle import HostId, Life
from nexthos_controller.executors.streams.hosts import Host, Hosts, words_of
from nexthos_controller.executors.streams.record import Record
from nexthos_controller.executors.streams.stock import Stock
from nexthos_shared.engine import last_error
from nexthos_shared.errors import StillRunning
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.system_errors import OUT_OF_FILES, with_advice

log = structlog.get_logger(__name__)

KILL_WITHIN = 5.0  # seconds for a stream to end that was told to end at once
_SERVING = "http: panic serving "  # what Go notes of a call that it broke off, with who asked
INSIST_FIRST = 0.05  # seconds until it is told again, doubling


class Endings:
    """Of one executor's streams."""

    def __init__(self, stock: Stock, hints: Hints, guard: Callable[[], None]) -> None:
        self.hosts: Hosts
        self._stock = stock
        self._hints = hints
        self._guard = guard
        self._draining: dict[str, asyncio.Task[bool]] = {}  # by uid

    # ---- asked to

    async def stop(self, record: Record, host: Host, grace: float) -> bool:
        """Whether it drained. Raises StillRunning."""
        life = record.handle.life
        assert life is not None
        self._guard()
        stopping = replace(life, stopping=True)
        self._stock.keep(record, replace(record.handle, life=stopping))
        failpoints.reach("streams.stopping")
        record.busy += 1
        try:
            if await self._drain(record, host, stopping, grace):
                await self.conclude(record, stopping, Exit(0, True), host)
                return True
            await self._kill(record, host, stopping)
            return False
        finally:
            record.busy -= 1

    async def _drain(self, record: Record, host: Host, life: Life, grace: float) -> bool:
        task = self._draining.get(life.uid)
        if task is None:
            task = asyncio.create_task(host.api.delete(record.handle.name, None))
            self._draining[life.uid] = task
            task.add_done_callback(lambda done: self._drained(life.uid, done))
        over = asyncio.create_task(record.over.wait())
        try:
            await asyncio.wait({task, over}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        return False

    def _drained(self, uid: str, task: asyncio.Task[bool]) -> None:
        self._draining.pop(uid, None)
        if not task.cancelled():
            task.exception()  # it is asked again, or its host has died

    async def _kill(self, record: Record, host: Host, life: Life) -> None:
        if not self._lives(record, life):
            return  # another controller ended it, or its host did
        self._guard()
        if (task := self._draining.get(life.uid)) is not None:
            task.cancel()
        if await self._insist(record, host, life):
            await self.conclude(record, life, Exit(None, True), host)
            return
        name, number = record.handle.name, host.handle.number
        host.note(retired=True)
        if self.hosts.count(host) > 1:
            raise StillRunning(
                f"{name} does not end, and can't be killed alone: host {number} gets no more streams, "
                "and is killed when no other lives in it"
            )
        await self.hosts.end(host, 0.0, self._guard)

    async def _insist(self, record: Record, host: Host, life: Life) -> bool:
        """Tell it to end at once, until it has."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + KILL_WITHIN
        within = INSIST_FIRST
        while (left := deadline - loop.time()) > 0:
            if not self._lives(record, life):
                return True
            with contextlib.suppress(Silent, NotOurs):
                if await host.api.delete(record.handle.name, min(within, left)):
                    return True
            if not host.over.is_set():
                await asyncio.sleep(min(within / 10, left))
            within *= 2
        return False

    def _lives(self, record: Record, life: Life) -> bool:
        """Whether that life is still the record's, as far as its file says: the API knows only names."""
        self._stock.refresh(record.handle.id)
        return record.running and record.uid == life.uid and not record.over.is_set()

    # ---- noting it

    async def conclude(
        self,
        record: Record,
        life: Life,
        exit: Exit,
        host: Host | None = None,
        party: int | None = None,
    ) -> None:
        """Note the end of that life, with its last lines and metrics."""
        host = host or self.hosts.get(life.host)
        if host is not None:
            await self._keep_metrics(record, host)
            await asyncio.to_thread(_keep_lines, [(record, life)], host)
        self._note(record, life, exit, party)

    async def _keep_metrics(self, record: Record, host: Host) -> None:
        with contextlib.suppress(Silent, NotOurs, OSError):
            text = await host.metrics.of(record.handle.name, fresh=0.2)
            if text:
                replace_file(record.metrics_file, record.since_it_began(text).encode())

    def _note(self, record: Record, life: Life, exit: Exit, party: int | None) -> None:
        now = record.handle.life
        if now is None or now.uid != life.uid or not record.running:
            return
        if not self._stock.is_current(record):
            with contextlib.suppress(Exception):
                self._stock.refresh(record.handle.id)
            now = record.handle.life
            if now is None or now.uid != life.uid or not record.running:
                return
        if now.stopping and not exit.signalled:  # asked to while we looked
            exit = Exit(exit.code, True)
        if party is None:
            cleared = time.time() - now.started_at >= suspicion.CLEARED
            party = 0 if cleared else record.handle.party
        ended = replace(record.handle, life=replace(now, exit=exit), party=party)
        self._stock.keep(record, ended)
        record.over.set()
        self._hints.add(record.handle.id)

    # ---- with their host

    async def put_down(self, host: Host) -> None:
        """Kill a host that does not answer any more. Raises StillRunning, and what the guard raises."""
        self._guard()
        host.hung = True
        log.warning("a host that does not answer is killed", host=host.handle.number)
        await self.hosts.end(host, 0.0, self._guard)

    async def host_died(self, host: Host) -> None:
        """Note the end of all that lived in it, before anybody can start them again."""
        pending = {r.handle.name for r in self._stock.on(host.id) if not r.running}
        lives = self.lives_in(host.id)
        exit = await asyncio.to_thread(_hung if host.hung else _exit_of, host)
        when = _died_at(host)
        inmates = [
            suspicion.Inmate(r.handle.name, r.handle.party, max(when - life.started_at, 0.0))
            for r, life in lives
        ]
        killed = exit.problem is not None and exit.problem.reason is Reason.KILLED
        verdicts: dict[str, suspicion.Verdict] = {}
        if inmates and host.hung:
            verdicts = suspicion.judge_silent(inmates, host.broken or pending or None)
        elif inmates and not exit.signalled:
            verdicts = suspicion.judge(inmates, killed)
        if not host.starting and (lives or not exit.signalled):
            words = exit.problem.message if exit.problem else "it was asked to"
            log.warning("a host ended", host=host.handle.number, streams=len(lives), why=words)
        await asyncio.to_thread(_keep_lines, lives, host)
        for record, life in lives:
            verdict = verdicts.get(record.handle.name)
            own = verdict is not None and verdict.own
            said = exit if own or exit.signalled else Exit(None, True, _with_its_host(host, exit))
            if own and exit.problem is not None:
                said = replace(exit, problem=_of_its_own(host, exit.problem, record))
            self._note(record, life, said, verdict.party if verdict else None)

    def lives_in(self, host: HostId) -> list[tuple[Record, Life]]:
        """What lived in it, and what was being created there: that has lived, as far as is known."""
        lives = []
        for record in self._stock.on(host):
            if not record.running and (creating := record.handle.creating) is not None:
                begun = record.handle.begun(creating)
                self._stock.know(record, begun)
                record.begin(begun)
            if record.handle.life is not None:
                lives.append((record, record.handle.life))
        return lives

    async def close(self) -> None:
        """Cut short what drains."""
        tasks = list(self._draining.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _keep_lines(lives: list[tuple[Record, Life]], host: Host) -> None:
    if not lives:
        return
    raw, _ = lines.written_since(host.log, min(life.log_offset for _, life in lives))
    keep_of([record for record, _ in lives], raw)
    if not host.handle.shared:
        for record, life in lives:
            printed, _ = lines.written_since(host.output, life.output_offset)
            with contextlib.suppress(OSError):
                lines.keep(printed, record.output)


def keep_of(records: list[Record], raw: Iterable[bytes]) -> None:
    """Keep each one's lines of those of a host's log, in one pass over all. Blocks."""
    found = {r.handle.name: deque[bytes](maxlen=lines.KEPT) for r in records}
    for line in raw:
        for name in lines.named_in(line):
            if name in found and lines.read(line, name) is not None:
                found[name].append(line)
    for record in records:
        with contextlib.suppress(OSError):
            lines.keep(found[record.handle.name], record.log)


def _exit_of(host: Host) -> Exit:
    """How a host ended, from what it left behind."""
    note = noted(host.folder)
    code = note.code if note else None
    tail = tail_of(host.errors, 0)
    if (note is not None and note.signalled) or code == 0:  # a host never ends by itself with 0
        return Exit(code, True)
    if code is None or code == KILLED:
        words = "was killed (SIGKILL: by hand, or by the system for want of memory)"
        return Exit(None, False, Problem(Reason.KILLED, words))
    panic = _panic(tail)
    words = panic or (
        f"was ended by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
    )
    return Exit(code, False, Problem(Reason.EXITED, words))


def _hung(host: Host) -> Exit:
    """What is said of one that was killed for its silence, whatever its shim noted."""
    words = "did not answer any more, and was killed"
    if OUT_OF_FILES in words_of(host):  # it could accept no connection
        words = with_advice(f"{words}: {OUT_OF_FILES}")
    return Exit(None, False, Problem(Reason.KILLED, words))


def broken_off(host: Host) -> str:
    """What is said of a stream that its host broke off creating, with the engine's own words for it."""
    lines = [line for line in tail_of(host.errors, 0).splitlines() if _SERVING in line]
    words = f": {lines[-1].partition(_SERVING)[2].partition(': ')[2][:500]}" if lines else ""
    return f"the engine broke off creating it{words}"


def _panic(tail: str) -> str:
    """The first line of a Go crash, which names no stream."""
    found = [line for line in tail.splitlines() if line.startswith(("panic: ", "fatal error: "))]
    return found[-1][:500] if found else ""


def _died_at(host: Host) -> float:
    """When it ended, as far as is known: the shim's note is as old as that."""
    with contextlib.suppress(OSError):
        return os.stat(host.folder / EXIT).st_mtime
    return time.time()


def _with_its_host(host: Host, exit: Exit) -> Problem:
    words = exit.problem.message if exit.problem else "ended"
    return Problem(
        Reason.KILLED, f"host {host.handle.number}, which it shared with others, {words}"
    )


def _of_its_own(host: Host, problem: Problem, record: Record) -> Problem:
    if problem.reason is Reason.EXITED:
        found = last_error(words_of(host), record.handle.env)
        return found or Problem(problem.reason, f"its engine {problem.message}")
    return Problem(problem.reason, f"its engine, which it shared with no other, {problem.message}")
