"""What may happen: to the store, to the platforms, to the controller. Each rule ends when all is quiet.

Three files because there are many rules: here is what they stand on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, ClassVar
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from nexthos_controller import failpoints
from nexthos_testing.machine.acting import Acting, Died, at_a_failpoint
from nexthos_testing.machine.ground import Ground
from nexthos_testing.machine.judge import Violation

KEYS = ("orders", "mails")
STEADY = "steady"  # no rule is about it, so nothing ever happens to it
QUIET = 0.001  # seconds in which nothing is left to do
MOST = 3

keys = st.sampled_from(KEYS)
numbers = st.integers(0, MOST)


class Grounded(RuleBasedStateMachine):
    """A ground, and the controller that acts."""

    judged: ClassVar[frozenset[str] | None] = None  # None: every invariant

    def __init__(self) -> None:
        super().__init__()
        self.ground = Ground()
        self.ground.loop.set_exception_handler(_complain)
        self._patches = ExitStack()
        self._patches.enter_context(patch.object(failpoints, "reach", at_a_failpoint))
        self.controllers = 1
        self.acting = Acting(self.ground, 1)
        self.zombies: list[Acting] = []  # that lost the lease, and do not know it yet
        self.begun = self.failed = False

    def do(self, *what: Coroutine[Any, Any, Any]) -> None:
        """Do it, and wait until nothing is left to do at this moment."""
        for one in (*what, asyncio.sleep(QUIET)):
            self.ground.loop.run_until_complete(one)
        if self.acting.dead:
            self.ground.loop.run_until_complete(self.acting.close())
            return
        if self.acting.queue_is_empty and self.acting.leads and self.ground.all_places_answer:
            told = {k: self.acting.statuses.status(k) for k in KEYS}
            remembered = {k for k, s in told.items() if s and s.memory.current is not None}
            self.ground.chronicle.settled(set(KEYS) - remembered)

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def replace(self) -> None:
        """Another controller takes over; the one before is gone already, or does not act any more."""
        self.controllers += 1
        self.ground.chronicle.taken_over({t.execution.uid for _, t in self.ground.things()})
        self.acting = Acting(self.ground, self.controllers)
        self.do(self.acting.start())

    @invariant()
    def nothing_is_violated(self) -> None:
        """What the judge saw."""
        found, self.ground.judge.violations = self.ground.judge.violations, []
        for violation in found:
            self.judge(violation)

    def judge(self, violation: Violation) -> None:
        """Raise it, if it is one that is judged."""
        if self.judged is None or violation.invariant in self.judged:
            self.failed = True
            raise violation

    def teardown(self) -> None:
        """Close everything, whatever happened."""
        loop = self.ground.loop
        try:
            for acting in (self.acting, *self.zombies):
                acting.dies_in, acting.dead = None, True
                loop.run_until_complete(acting.close())
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
        finally:
            self._patches.close()
            loop.close()


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)
