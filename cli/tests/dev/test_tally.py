from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from nexthos_cli.dev.tally import Count, Tally, read_metrics
from nexthos_controller.executors.base import Execution
from nexthos_shared.errors import ExecutorUnreachable

TEXT = """\
# HELP input_received Benthos Counter metric
# TYPE input_received counter
input_received{label="",path="root.input",pipeline="p"} 12
# TYPE output_sent counter
output_sent{label="a",path="root.output.broker.outputs.0"} 5
output_sent{label="b",path="root.output.broker.outputs.1"} 6
# TYPE output_error counter
output_error{label="a",path="root.output"} 1
# TYPE processor_error counter
processor_error{label="",path="root.pipeline.processors.0"} 2
# TYPE output_latency_ns summary
output_latency_ns_sum 1e9
output_latency_ns_count 11
"""


@dataclass
class Metrics:
    """Only what a tally asks of an executor."""

    texts: dict[str, Any] = field(default_factory=dict)

    async def metrics(self, execution: Execution) -> str:
        found = self.texts[execution.uid]
        if isinstance(found, Exception):
            raise found
        return str(found)


def execution(uid: str, state: Any = "running", started_at: float = 10.0) -> Execution:
    return Execution(
        f"ns-orders-{uid}",
        "orders",
        0,
        uid,
        "fake",
        "here",
        "",
        1,
        "",
        state,
        None,
        started_at=started_at,
    )


def received(n: int) -> str:
    return f'# TYPE input_received counter\ninput_received 0\ninput_received{{a="b"}} {n}\n'


def test_inputs_and_outputs_are_added_up():
    assert read_metrics(TEXT) == Count(12, 11, 3)
    assert read_metrics("") == Count()


def test_counters_may_be_named_total():
    text = "# TYPE input_received counter\ninput_received_total 7.0\n"
    assert read_metrics(text) == Count(7, 0, 0)


def test_what_is_no_metrics_is_refused():
    with pytest.raises(ValueError, match=r"."):
        read_metrics('input_received{label="} 1')


async def test_lives_of_a_pipeline_are_added_up():
    executor = Metrics({"1": received(5), "2": received(7)})
    tally = Tally(executor, since=5.0)  # type: ignore[arg-type]
    await tally.sample([execution("1")])
    await tally.sample([execution("2")])

    assert tally.of("orders") == Count(12)
    assert tally.of("another") == Count()


async def test_a_job_that_ended_between_two_samples_counts_and_is_read_once():
    executor = Metrics({"1": received(5)})
    tally = Tally(executor, since=5.0)  # type: ignore[arg-type]
    await tally.sample([execution("1", "stopped")])
    executor.texts["1"] = ExecutorUnreachable("gone")
    await tally.sample([execution("1", "stopped")])

    assert tally.of("orders") == Count(5)


async def test_one_that_does_not_answer_keeps_its_last_count():
    executor = Metrics({"1": received(5)})
    tally = Tally(executor, since=5.0)  # type: ignore[arg-type]
    await tally.sample([execution("1")])
    for nothing in ("", "nonsense {", ExecutorUnreachable("gone"), OSError("reset")):
        executor.texts["1"] = nothing
        await tally.sample([execution("1")])

    assert tally.of("orders") == Count(5)


async def test_what_was_counted_before_this_run_is_not_of_this_run():
    executor = Metrics({"old": received(100), "done": received(50)})
    tally = Tally(executor, since=20.0)  # type: ignore[arg-type]
    lives = [execution("old"), execution("done", "stopped")]
    await tally.sample(lives)
    executor.texts["old"] = received(103)
    await tally.sample(lives)

    assert tally.of("orders") == Count(3)


async def test_what_never_ran_is_not_asked():
    tally = Tally(Metrics(), since=0.0)  # type: ignore[arg-type]
    await tally.sample([execution("", "prepared")])

    assert tally.of("orders") == Count()
