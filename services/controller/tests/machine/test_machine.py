"""Whatever happens in whatever order: what always holds, and what holds once faults stop."""

import pytest

from nexthos_testing.machine.machine import Pipelines, run


@pytest.mark.timeout(300)  # 10 s where nothing else runs
@pytest.mark.parametrize("number", [1, 2])
def test_every_invariant_holds_after_every_step_and_the_goals_when_faults_stop(number: int) -> None:
    run(120, 40, number=number)


def test_the_lost_status_of_a_key_that_is_gone_without_a_marker_is_written_again() -> None:
    """Found by the machine (I7): the controller spoke of it until it restarted."""
    state = Pipelines()
    state.begin(one={}, other={})
    state.write_under_no_id(value=b"nonsense")
    state.restore_a_backup(back=0, missing=None, seen=False)
    state.lose_or_overwrite_statuses(every=True, key="orders", seen=False, value=None)
    state.teardown()
