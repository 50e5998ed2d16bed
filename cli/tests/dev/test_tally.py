from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nexthos_cli.dev.tally import Tally, messages_by_subject
from nexthos_controller.execution import Execution
from nexthos_controller.telemetry.engine_metrics import Count
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store


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


async def test_lives_of_a_pipeline_are_added_up():
    executor = Metrics({"1": received(5), "2": received(7)})
    tally = Tally(since=5.0)
    await tally.sample(executor, [execution("1")])
    await tally.sample(executor, [execution("2")])

    assert tally.of("orders") == Count(12)
    assert tally.of("another") == Count()


async def test_a_job_that_ended_between_two_samples_counts_and_is_read_once():
    executor = Metrics({"1": received(5)})
    tally = Tally(since=5.0)
    await tally.sample(executor, [execution("1", "stopped")])
    executor.texts["1"] = ExecutorUnreachable("gone")
    await tally.sample(executor, [execution("1", "stopped")])

    assert tally.of("orders") == Count(5)


async def test_one_that_does_not_answer_keeps_its_last_count():
    executor = Metrics({"1": received(5)})
    tally = Tally(since=5.0)
    await tally.sample(executor, [execution("1")])
    for nothing in ("", "nonsense {", ExecutorUnreachable("gone"), OSError("reset")):
        executor.texts["1"] = nothing
        await tally.sample(executor, [execution("1")])

    assert tally.of("orders") == Count(5)


async def test_what_was_counted_before_this_run_is_not_of_this_run():
    executor = Metrics({"old": received(100), "done": received(50)})
    tally = Tally(since=20.0)
    lives = [execution("old"), execution("done", "stopped")]
    await tally.sample(executor, lives)
    executor.texts["old"] = received(103)
    await tally.sample(executor, lives)

    assert tally.of("orders") == Count(3)


async def test_what_never_ran_is_not_asked():
    tally = Tally(since=0.0)
    await tally.sample(Metrics(), [execution("", "prepared")])

    assert tally.of("orders") == Count()


async def test_what_the_controller_tells_is_no_message_of_the_users_streams(fresh_nats):
    async with connect(ConnectOptions(fresh_nats.url), name="test", daemon=False) as link:
        store = await Store.open(link, Names("ns"), create=True)
        await link.js.add_stream(name="users", subjects=["orders"])
        await link.js.publish("orders", b"one")
        await link.js.publish(store.names.event_subject("orders", "Ready"), b"{}")
        assert await messages_by_subject(link.js, store.events.stream) == {"orders": 1}
