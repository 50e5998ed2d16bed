"""The machine: every rule, over one ground. What the controller does and suffers, and when it is judged."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import structlog
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from nexthos_shared.model import PipelineStatus
from nexthos_testing.machine.goals import Goals
from nexthos_testing.machine.judge import Violation
from nexthos_testing.machine.rules import KEYS, keys
from nexthos_testing.machine.store_rules import DEFINITIONS
from nexthos_testing.machine.world_rules import WorldRules

LONGEST_DELAY = 370.0  # seconds after which no backoff is left, of restarts or of looks
RESYNC = 60.0  # seconds
SPACING = 1.5  # seconds after which a status that somebody damaged is written again


class Pipelines(WorldRules):
    """Pipelines of one namespace, under everything that may happen to them."""

    @initialize(one=st.sampled_from(DEFINITIONS), other=st.sampled_from(DEFINITIONS))
    def begin(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        self.begin_with_a_full_store((one, other))
        self.let_neighbours_run()
        self.begun = True

    @property
    def is_awake(self) -> bool:
        """Whether the controller lives, acts, and is not about to die."""
        return not self.acting.dead and self.acting.leads and self.acting.dies_in is None

    # ---- looks and time

    @precondition(lambda self: not self.acting.dead)
    @rule(key=keys)
    def look(self, key: str) -> None:
        self.acting.controller.queue.add(key)
        self.do()

    @rule()
    def look_at_everything(self) -> None:
        self.resync()
        if self.is_awake and self.ground.is_faultless and self.ground.chronicle.forgotten:
            self.do(asyncio.sleep(SPACING))
            if self.acting.queue_is_empty:
                self.ground.chronicle.forgotten.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 8.0, 12.0, 35.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([320.0, 650.0]))
    def much_time_passes(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @rule(deaf=st.booleans())
    def hints_get_lost(self, deaf: bool) -> None:
        self.ground.deaf = deaf

    # ---- the controller

    @precondition(lambda self: not self.acting.dead)
    @rule(moments=st.integers(1, 8))
    def die_a_few_moments_from_now(self, moments: int) -> None:
        self.acting.dies_in = moments
        for key in KEYS:
            self.acting.controller.queue.add(key)
        self.do()

    @precondition(lambda self: not self.acting.dead)
    @rule()
    def die(self) -> None:
        self.acting.dead = True
        self.do()

    @precondition(lambda self: self.acting.dead)
    @rule()
    def come_back(self) -> None:
        self.replace()

    @precondition(lambda self: self.is_awake)
    @rule()
    def lose_the_lease(self) -> None:
        """It does not know it: what it does is refused."""
        self.acting.leads = False
        self.do()

    @precondition(lambda self: not self.acting.dead and not self.acting.leads)
    @rule()
    def somebody_else_takes_over(self) -> None:
        self.zombies.append(self.acting)
        self.replace()

    def restart_alone(self) -> None:
        """Where nothing is to be done, nothing is done: I7."""
        things, counts = self._uids(), self._counts()
        self.die()
        self.replace()
        if self._uids() != things:
            words = f"there was {things}, and there is {self._uids()}"
            self.judge(Violation("I7", f"a restart of the controller changes what runs: {words}"))
        if self._counts() != counts:
            self.judge(Violation("I7", f"restarts were {counts}, and are {self._counts()}"))

    def _uids(self) -> dict[str, str]:
        return {e.uid: e.state for _, t in self.ground.things() for e in [t.execution]}

    def _counts(self) -> dict[str, int]:
        """Of those that have any: a status alone may outlive its key, where a write got lost."""
        told = self.acting.statuses.each(PipelineStatus)
        return {key: status.restarts for key, status in told if status.restarts}

    # ---- what is reached when faults stop

    @rule()
    def faults_stop(self) -> None:
        self.ground.heal()
        for zombie in self.zombies:
            self.do(zombie.close())
        self.zombies.clear()
        self.acting.dies_in = None
        self.acting.controller.abandoned = frozenset()
        if not self.acting.leads and not self.acting.dead:
            self.die()
        if self.acting.dead:
            self.replace()
        self.do(asyncio.sleep(LONGEST_DELAY))
        for _ in range(2):
            self.look_at_everything()
            self.do(asyncio.sleep(RESYNC))
        self._goals_are_reached()

    def _goals_are_reached(self) -> None:
        self.nothing_is_violated()
        try:
            Goals(self.ground, self.acting).check()
        except Violation as violation:
            self.judge(violation)
        before = self.ground.judge.effects, self._written()
        self.look_at_everything()
        self.do(asyncio.sleep(RESYNC))
        if not self.acting.queue_is_empty or (self.ground.judge.effects, self._written()) != before:
            self.judge(Violation("L4", "a look at what is as it should be changes something"))
        self.restart_alone()

    def _written(self) -> dict[str, float]:
        return {key: s.updated_at for key, s in self.acting.statuses.each(PipelineStatus)}

    def teardown(self) -> None:
        """All ends well, unless it has failed already."""
        try:
            if self.begun and not self.failed:
                self.faults_stop()
                self.nothing_is_violated()
        finally:
            super().teardown()


def run(
    examples: int, steps: int, *, number: int, judged: str | None = None, shrink: bool = True
) -> None:
    """Try that many examples, always the same ones for the same `number`.

    `judged`: one invariant, where only its violations count.
    """
    fields = {"judged": frozenset({judged}) if judged else None}
    machine = seed(number)(type("Pipelines", (Pipelines,), fields))
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    before = structlog.get_config()
    # A line per step of each example would cost more than the examples.
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent, cache_logger_on_first_use=False)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                database=None,
                deadline=None,
                phases=phases,
                print_blob=False,
                report_multiple_bugs=False,
            ),
        )
    finally:
        structlog.configure(**before)
