"""Whether another process can still act: only one of this system that is gone for sure can't."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from nexthos_controller.election import process as holders
from nexthos_testing.wait import eventually


@pytest.fixture
def other():
    """A process that says how it is called, and waits."""
    words = (
        "from nexthos_controller.election.process import this_process\n"
        "print(this_process(), flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


async def test_a_living_or_frozen_process_is_not_dead_and_a_killed_one_is_before_it_is_reaped(
    other,
):
    process, name = other
    assert not holders.is_dead(name)
    process.send_signal(signal.SIGSTOP)
    assert not holders.is_dead(name)
    process.kill()
    await eventually(lambda: holders.is_dead(name))
    process.wait()
    assert holders.is_dead(name)


def test_a_pid_that_somebody_else_has_by_now_is_of_a_dead_one():
    system, pid, ticks = holders.this_process().rsplit(" ", 2)
    assert not holders.is_dead(f"{system} {pid} {ticks}")
    assert holders.is_dead(f"{system} {pid} {int(ticks) - 1}")


@pytest.mark.parametrize("name", ["", "nonsense", "a b 1 2", "boot pid:[1] 1 1", "  x 1"])
def test_of_another_system_nothing_is_known(name):
    assert not holders.is_dead(name)
