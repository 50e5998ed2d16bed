"""What each phase means, said once."""

from __future__ import annotations

import pytest

from nexthos_shared.model import Phase

MEANINGS = {
    Phase.DRAFT: {"is_at_rest"},
    Phase.STARTING: {"is_on_its_way"},
    Phase.RUNNING: {"is_good"},
    Phase.STOPPING: {"is_on_its_way"},
    Phase.PAUSED: {"is_at_rest"},
    Phase.COMPLETED: {"is_at_rest", "is_over", "is_good"},
    Phase.CRASH_LOOP: {"is_bad", "is_hopeless"},
    Phase.FAILED: {"is_at_rest", "is_over", "is_bad", "is_hopeless"},
    Phase.INVALID: {"is_at_rest", "is_bad", "is_hopeless"},
    Phase.UNKNOWN: {"is_on_its_way", "is_bad"},
}


def test_each_phase_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(Phase)


@pytest.mark.parametrize("phase", Phase)
def test_a_phase_means_what_readers_are_told(phase: Phase) -> None:
    meanings = {"is_at_rest", "is_on_its_way", "is_over", "is_good", "is_bad", "is_hopeless"}
    assert {name for name in meanings if getattr(phase, name)} == MEANINGS[phase]
