"""Whatever happens in whatever order: what always holds, and what holds once faults stop."""

import pytest

from nexthos_testing.machine.machine import run


@pytest.mark.timeout(300)  # 10 s where nothing else runs
@pytest.mark.parametrize("number", [1, 2])
def test_every_invariant_holds_after_every_step_and_the_goals_when_faults_stop(number: int) -> None:
    run(120, 40, number=number)
