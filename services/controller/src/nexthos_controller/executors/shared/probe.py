"""Readiness of one life, asked over HTTP: often while it is young, seldom once it is ready.

The pause is a twentieth of the time since the last change, from 3 ms to 5 s: an engine that needs 40 ms
is seen ready 2 ms later, one that needs a minute within 3 s, and 200 that start at once stay cheap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog

from nexthos_controller.executors.shared.delivery import PACE, Delivery
from nexthos_controller.executors.shared.log_symptoms import Heard
from nexthos_controller.executors.shared.open_files import WANTED, has_room
from nexthos_controller.telemetry.engine_metrics import read_figures
from nexthos_shared.backoff import jittered
from nexthos_shared.engine import Readiness, Ready
from nexthos_shared.reasons import Problem, Reason

FIRST_PAUSE = 0.003  # seconds
LAST_PAUSE = 5.0  # seconds
DOWN_AFTER = 3  # looks without an answer after which an answer given earlier counts no more

log = structlog.get_logger(__name__)

Say = Callable[[bool | None, Problem | None, tuple[Problem, ...]], None]
Entries = Iterable[Mapping[str, Any]]


async def _nothing() -> Entries:
    return ()


@dataclass(frozen=True, slots=True)
class Asked:
    """One life's engine. Values of `env` are shown to nobody; None: they are not known."""

    endpoint: str
    token: str
    env: Mapping[str, str] | None
    could_not_bind: Callable[[], bool] = lambda: False  # by its own words
    logged: Callable[[], Awaitable[Entries]] = _nothing  # of its log since the last call


async def probe(asked: Asked, say: Say) -> None:
    """Ask for ever; `say(ready, problem)` at each change."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    verdict = Verdict(asked)
    async with Readiness(asked.endpoint, asked.token) as readiness:
        while True:
            may_ask = readiness.connected or has_room()
            answer = await readiness.look() if may_ask else None
            verdict.heard.take(await asked.logged(), loop.time())
            await _count(readiness, verdict, loop.time())
            before = verdict.ready
            if verdict.take(answer, readiness.detail, loop.time()):
                say(verdict.ready, verdict.problem, verdict.symptoms)
            if verdict.ready != before:
                since = loop.time()
            await asyncio.sleep(_pause(loop.time() - since, verdict.ready))


async def _count(readiness: Readiness, verdict: Verdict, now: float) -> None:
    """Ask what it counts, seldom, and only while it calls itself ready."""
    delivery = verdict.delivery
    if not verdict.ready or not delivery.is_due(now, PACE):
        return
    try:
        figures = read_figures(await readiness.metrics())
    except ValueError:
        return
    if figures is not None:
        delivery.take(figures.count.received, figures.count.sent, now)


def report(task: asyncio.Task[None]) -> None:
    """As a probe's done callback: it runs for ever, so an end of its own is a defect."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a probe broke", task=task.get_name(), exc_info=error)


def _pause(calm: float, ready: bool | None) -> float:
    if ready:
        return jittered(LAST_PAUSE, 0.1)
    return min(max(calm / 20, FIRST_PAUSE), LAST_PAUSE)


class Verdict:
    """What the answers so far amount to."""

    def __init__(self, asked: Asked) -> None:
        self.ready: bool | None = None
        self.problem: Problem | None = None
        self.symptoms: tuple[Problem, ...] = ()  # what goes wrong while it runs
        self.heard = Heard(asked.env)
        self.delivery = Delivery()
        self._asked = asked
        self._downs = 0
        self._answered = False

    def take(self, answer: Ready | None, detail: str, now: float = 0.0) -> bool:
        """Whether this answer, and what was heard until `now`, changed anything; None: it was not asked."""
        before = self.ready, self.problem, self.symptoms
        self._downs = self._downs + 1 if answer == "down" else 0
        if answer in ("ready", "not-ready"):
            said = detail if self._asked.env is not None else ""
            self.ready, self.problem = self.heard.verdict(answer == "ready", said, now)
        elif answer is None:
            words = f"whether it is ready can't be asked: {WANTED}"
            self.ready, self.problem = None, Problem(Reason.TEMPORARY, words)
        elif answer == "not-ours" or (not self._answered and self._asked.could_not_bind()):
            self.ready, self.problem = False, self._port_in_use()
        elif self._downs >= DOWN_AFTER:
            self.ready, self.problem = None, None
        self._answered = self._answered or answer in ("ready", "not-ready")
        silent = (self.delivery.problem,) if self.delivery.problem else ()
        self.symptoms = (*self.heard.erring(now), *silent)
        return (self.ready, self.problem, self.symptoms) != before

    def _port_in_use(self) -> Problem:
        words = f"port {urlsplit(self._asked.endpoint).port} of the engine's own HTTP is another program's"
        return Problem(Reason.PORT_IN_USE, words)
