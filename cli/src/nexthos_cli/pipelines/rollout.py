"""A rollout: executions that were started with older settings are renewed, some at a time.

Comes in: pipelines whose status says `Outdated`. Goes out: what came of each. A pipeline is renewed as
`restart` does it, and counts as renewed when the new execution is ready; whatever else comes of it is a
failure. When there are more of those than allowed, nothing more is begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nexthos_cli.app import App
from nexthos_cli.output.models import Renewed
from nexthos_cli.pipelines.act import target_of
from nexthos_cli.pipelines.entry import Rewritten, raise_nonce, rewrite
from nexthos_cli.wait.wait import Target, Verdict, Waiting, wait_for_one
from nexthos_shared.errors import NexthosError, NotFound
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.model.entries import read_status
from nexthos_shared.plan.edit import NotRunning
from nexthos_shared.reasons import Problem, Reason

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry, Store


def why_outdated(status: PipelineStatus | None) -> str | None:
    """What of it is older than the controller's settings, in the controller's words; None: nothing."""
    condition = status.condition(ConditionType.OUTDATED) if status else None
    is_so = condition is not None and condition.status == "True"
    return condition.message if condition and is_so else None


def outdated(statuses: Iterable[KvEntry]) -> dict[str, str]:
    """The pipelines that have something to renew, sorted by id, and what."""
    found = {stored.key: why_outdated(read_status(stored)) for stored in statuses}
    return {key: why for key, why in sorted(found.items()) if why is not None}


@dataclass(slots=True)
class Rollout:
    """One rollout under way."""

    app: App
    store: Store
    max_parallel: int
    max_failures: int
    results: dict[str, Renewed] = field(default_factory=dict)
    _left: deque[str] = field(default_factory=deque)
    _total: int = 0

    @property
    def failures(self) -> list[Renewed]:
        """Those that did not become ready."""
        return [r for r in self.results.values() if r.result == "failed"]

    @property
    def gave_up(self) -> bool:
        """Whether more failed than was allowed."""
        return len(self.failures) > self.max_failures

    async def run(self, keys: Iterable[str]) -> None:
        """Renew them in this order, as far as it goes. What is under way is always waited for."""
        self._left.extend(keys)
        self._total = len(self._left)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self.max_parallel, self._total)):
                tasks.create_task(self._work())
        for key in self._left:
            self.results[key] = Renewed(id=key, result="skipped", reason=Reason.OUTDATED)

    async def _work(self) -> None:
        while self._left and not self.gave_up:
            key = self._left.popleft()
            self.app.note(
                f"pipeline/{key}: renewing, {self._total - len(self._left)} of {self._total}"
            )
            self.results[key] = result = await self._renew(key)
            self._tell(result)

    async def _renew(self, key: str) -> Renewed:
        try:
            if why_outdated(read_status(await self.store.statuses.get(key))) is None:
                return Renewed(id=key, result="skipped", message="it is up to date by now")
            return await self._wait(key, await rewrite(self.store, key, raise_nonce))
        except NexthosError as error:
            left_alone = isinstance(error, NotRunning | NotFound)
            return Renewed(
                id=key,
                result="skipped" if left_alone else "failed",
                reason=error.problem.reason,
                message=str(error).removeprefix(f"pipeline {key!r}: "),
            )

    async def _wait(self, key: str, now: Rewritten) -> Renewed:
        waiting = Waiting({key: target_of(now)}, self._progress)
        waited = await wait_for_one(self.store, waiting, self.app.patience)
        if waited.result == "reached":
            return Renewed(
                id=key, result="rolled_out", revision=now.revision, seconds=waited.seconds
            )
        last = waiting.last.get(key, Verdict("on its way"))
        late = f"not ready within {self.app.patience:g}s; last: {last.words}"
        return Renewed(
            id=key,
            result="failed",
            revision=now.revision,
            reason=waited.reason if waited.result == "failed" else Reason.TIMED_OUT,
            message=f"{last.end}: {waited.message}" if waited.result == "failed" else late,
            seconds=waited.seconds,
        )

    def _progress(self, key: str, _: Target, verdict: Verdict) -> None:
        if verdict.result == "on its way":
            self.app.note(f"pipeline/{key}: {verdict.words}")

    def _tell(self, renewed: Renewed) -> None:
        if renewed.result == "rolled_out":
            self.app.say(f"pipeline/{renewed.id} ready after {renewed.seconds:.1f}s")
        else:
            self.app.say(f"pipeline/{renewed.id} {renewed.result}: {renewed.message}")

    def problems(self) -> list[Problem]:
        """What failed, and what was not begun for it."""
        found = [
            Problem(r.reason or Reason.TEMPORARY, f"pipeline {r.id}: {r.message}")
            for r in self.failures
        ]
        left = [r.id for r in self.results.values() if r.reason is Reason.OUTDATED]
        if left:
            words = f"not renewed: {', '.join(left)}; {len(found)} failed, {self.max_failures} may"
            found.append(Problem(Reason.OUTDATED, words))
        return found
