"""The loop over the fake executor and a real NATS: bounds, faults, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from nexthos_shared.errors import ExecutorUnreachable, NameConflict, StartFailed, StillRunning
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.model.stored import encode
from nexthos_shared.reasons import Reason
from nexthos_testing.guarded import controller_user
from nexthos_testing.house import CONFIG, Builder, condition
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


@pytest.mark.fault(64)
async def test_of_a_hundred_put_at_once_one_start_hangs_and_the_others_run(
    builder: Builder,
) -> None:
    builder.world.faults.hang["start", "p50"] = gate = asyncio.Event()
    builder.world.faults.latency = 0.002
    async with builder.house() as house:
        for n in range(100):
            await house.field.config(f"p{n}", CONFIG)
        for n in range(100):
            await house.field.put(f"p{n}")
        for n in range(100):
            if n != 50:
                await house.field.reaches(f"p{n}", "Running")
        assert await house.field.phase("p50") == "Starting"
        assert house.executor.most <= 16
        assert house.executor.most > 1
        gate.set()
        await house.field.reaches("p50", "Running")
    assert len(builder.world.running()) == 100


async def test_a_slow_stop_keeps_no_other_from_starting(builder: Builder) -> None:
    async with builder.house(workers=1) as house:
        for key in ("slow", "quick"):
            await house.field.config(key, CONFIG)
        await house.field.put("slow")
        await house.field.reaches("slow", "Running")
        builder.world.faults.hang["stop", "slow"] = gate = asyncio.Event()
        await house.field.put("slow", "paused")
        await house.field.reaches("slow", "Stopping")
        await house.field.put("quick")
        await house.field.reaches("quick", "Running")
        gate.set()
        await house.field.reaches("slow", "Paused")


@pytest.mark.fault(60)
@pytest.mark.fault(55)
@pytest.mark.parametrize("how", ["deleted", "draft"])
async def test_while_it_drains_what_is_deleted_or_a_draft_is_stopping(
    builder: Builder, how: str
) -> None:
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        builder.world.faults.hang["stop", "orders"] = gate = asyncio.Event()
        if how == "draft":
            await house.field.put("orders", "draft")
        else:
            await house.field.delete("orders")

        async def is_stopping() -> bool:
            return await house.field.phase("orders") == "Stopping"

        await eventually(is_stopping)
        gate.set()
        await eventually(lambda: builder.world.things == {})


async def test_a_start_that_is_refused_is_told_and_tried_again(builder: Builder) -> None:
    builder.world.faults.fail["start"] = [StartFailed("no space left on device")] * 2
    async with builder.house() as house:
        await house.field.config("orders", CONFIG)
        await house.field.put("orders")

        async def told() -> bool:
            status = await house.field.status("orders")
            return bool(status and status.complaint and "no space" in status.complaint.message)

        await eventually(told)
        await house.field.reaches("orders", "Running")
    assert len(builder.world.running()) == 1


async def test_what_a_stop_ran_into_is_told_no_more_once_it_has_ended(builder: Builder) -> None:
    builder.world.faults.fail["stop"] = [StillRunning("it outlives SIGKILL")]
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        await house.field.put("orders", "paused")
        status = await house.field.reaches("orders", "Paused")
        assert status.complaint is None
    assert builder.world.count("stop") == 2


async def test_bytes_that_the_executor_will_not_have_never_replace_what_runs(
    builder: Builder,
) -> None:
    builder.world.faults.unfit = b"unfit"
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        before = builder.world.running()
        await house.field.config("orders", CONFIG + "# unfit", "2")
        await house.field.put("orders", version="2")
        status = await house.field.complains("orders", Reason.CANNOT_RUN_HERE)
        assert (status.phase, status.version) == ("Running", "1")
        assert status.complaint is not None
        assert (status.complaint.type, status.complaint.file) == ("Valid", "orders/2")
        assert builder.world.running() == before
        await house.field.config("orders", CONFIG + "# fit", "3")
        await house.field.put("orders", version="3")
        await eventually(lambda: [e.digest for e in builder.world.running()] != [before[0].digest])
        status = await house.field.reaches("orders", "Running")
        assert status.version == "3"
    assert [c.method for c in builder.world.calls].count("start") == 2


async def test_bytes_that_the_executor_will_not_have_are_invalid_at_first_and_leave_nothing(
    builder: Builder,
) -> None:
    builder.world.faults.unfit = b"unfit"
    async with builder.house() as house:
        await house.field.config("orders", CONFIG + "# unfit")
        await house.field.put("orders")
        status = await house.field.reaches("orders", "Invalid")
        assert status.complaint is not None
        assert status.complaint.reason is Reason.CANNOT_RUN_HERE
        assert [c.type for c in status.conditions] == [ConditionType.VALID]
        tried = builder.world.count("start")
        await house.field.request("reconcile", id="orders")
        assert builder.world.count("start") == tried
        assert builder.world.things == {}
        await house.field.config("orders", CONFIG, "2")
        await house.field.put("orders", version="2")
        await house.field.reaches("orders", "Running")


@pytest.mark.fault(63)
async def test_a_defect_costs_its_own_pipeline_only_and_says_nothing_it_should_not(
    builder: Builder,
) -> None:
    secret = "password=hunter2"
    builder.world.faults.fail["start", "bad"] = [ValueError(secret)] * 100  # type: ignore[list-item]
    async with builder.house() as house:
        for key in ("bad", "good"):
            await house.field.config(key, CONFIG)
            await house.field.put(key)
        await house.field.reaches("good", "Running")

        async def told() -> PipelineStatus | None:
            status = await house.field.status("bad")
            return status if status and status.complaint else None

        async def named() -> bool:
            status = await told()
            return bool(status and status.complaint and status.complaint.reason == "InternalError")

        await eventually(named)
        status = await told()
        assert status is not None
        assert secret not in encode(status).decode()


@pytest.mark.fault(32)
async def test_a_name_that_is_taken_by_something_else_is_a_condition(builder: Builder) -> None:
    builder.world.faults.fail["start"] = [NameConflict("orders-0 is not ours")] * 100
    async with builder.house() as house:
        await house.field.config("orders", CONFIG)
        await house.field.put("orders")

        async def told() -> bool:
            status = await house.field.status("orders")
            return bool(
                status
                and condition(status, ConditionType.NAME_CONFLICT) == ("True", Reason.NAME_CONFLICT)
            )

        await eventually(told)


@pytest.mark.fault(26)
async def test_an_unreachable_executor_is_unknown_and_nothing_is_started_twice(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.field.config("orders", CONFIG)
        await house.field.put("orders")
        await house.field.reaches("orders", "Running")
        builder.world.faults.fail["find", "orders"] = [ExecutorUnreachable("daemon is away")] * 1000
        await house.field.put("orders", name="look again")
        status = await house.field.reaches("orders", "Unknown")
        assert condition(status, ConditionType.REACHABLE) == (
            "False",
            Reason.EXECUTOR_UNREACHABLE,
        )
        builder.world.faults.fail.clear()
        await house.field.put("orders", name="and again")
        await house.field.reaches("orders", "Running")
    assert builder.world.count("start") == 1


@pytest.mark.fault(21)
async def test_a_status_overwritten_by_somebody_else_is_put_right(builder: Builder) -> None:
    async with builder.house() as house:
        await house.field.config("orders", CONFIG)
        await house.field.put("orders")
        await house.field.reaches("orders", "Running")
        bucket = await house.field.js.key_value(house.field.names.status)
        await bucket.put("orders", b"nonsense")
        await house.field.put("orders", name="changed")
        status = await house.field.reaches("orders", "Running")
        assert status.memory.current is not None
    assert builder.world.count("start") == 1


@pytest.mark.fault(15)
async def test_a_thousand_updates_of_one_key_are_coalesced_and_the_last_one_wins(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.field.config("orders", CONFIG)
        for n in range(1000):
            await house.field.put("orders", replicas=1 + n % 3)
        await house.field.put("orders", replicas=2)
        status = await house.field.reaches("orders", "Running")
        assert (status.replicas, len(builder.world.running())) == (2, 2)


@pytest.mark.fault(18)
async def test_an_execution_whose_key_has_no_marker_is_orphaned_until_it_is_deleted_once_more(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.field.config("orders", CONFIG)
        await house.field.put("orders")
        await house.field.reaches("orders", "Running")
        await house.field.js.delete_key_value(house.field.names.pipelines)
        await house.running.context.store.setup()

        async def orphaned() -> bool:
            status = await house.field.status("orders")
            return bool(status and condition(status, ConditionType.ORPHANED))

        await eventually(orphaned, within=20.0)
        assert len(builder.world.running()) == 1
        await house.field.delete("orders")
        await eventually(lambda: builder.world.things == {})


async def test_a_restarted_controller_changes_nothing_and_writes_nothing(builder: Builder) -> None:
    async with builder.house() as house:
        for n in range(5):
            await house.field.config(f"p{n}", CONFIG)
            await house.field.put(f"p{n}")
        for n in range(5):
            await house.field.reaches(f"p{n}", "Running")
        await house.field.request("reconcile")
        calls = len(builder.world.calls)
        info = await house.field.js.stream_info(f"KV_{house.field.names.status}")
    async with builder.house() as house:
        assert (await house.field.request("reconcile"))["unsettled"] == 0
        again = await house.field.js.stream_info(f"KV_{house.field.names.status}")
    assert again.state.last_seq == info.state.last_seq
    assert len(builder.world.calls) == calls


@pytest.mark.fault(1, 6)
async def test_of_two_controllers_one_acts_and_the_other_takes_over_when_it_ends(
    builder: Builder, namespace: str
) -> None:
    second = Builder(builder.url, namespace, builder.state_dir, builder.world)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(builder.house())
        await first.publish("orders")
        await first.field.reaches("orders", "Running")
        async with second.house(leads=False) as other:
            await first.publish("lines")
            await first.field.reaches("lines", "Running")
            assert other.running.term is None
            calls = list(builder.world.calls)
            await stack.aclose()
            await other.running.leading()
            await other.publish("more")
            await other.field.reaches("more", "Running")
            new = builder.world.calls[len(calls) :]
            assert {call.id for call in new} == {"more"}


SYSTEM = """
accounts {
  APP { jetstream: enabled, users: [{user: app, password: app}, CONTROLLER] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
no_auth_user: app
"""


async def kick(admin: Client, name: str) -> None:
    """The server throws out the connections of that name, as a network that breaks."""
    info = json.loads((await admin.request("$SYS.REQ.SERVER.PING.CONNZ", b"{}", timeout=5)).data)
    server = info["server"]["id"]
    for connection in info["data"]["connections"]:
        if connection.get("name") == name:
            body = json.dumps({"cid": connection["cid"]}).encode()
            await admin.request(f"$SYS.REQ.SERVER.{server}.KICK", body, timeout=5)


@pytest.mark.fault(16)
@pytest.mark.timeout(120)
async def test_a_thousand_changes_and_fifty_reconnects_leave_everything_as_before(
    namespace: str, tmp_path: Path
) -> None:
    config = SYSTEM.replace("CONTROLLER", controller_user(namespace))
    server = NatsServer(tmp_path / "nats", config=config)
    async with server:
        builder = Builder(server.url, namespace, tmp_path / "state")
        admin = await nats.connect(server.url, user="sys", password="sys")
        async with builder.house() as house:
            await house.field.config("orders", CONFIG)
            await house.field.put("orders")
            await house.field.reaches("orders", "Running")
            await house.field.request("reconcile")
            await kick(admin, "nobody")  # makes what the test itself needs for it
            before = (await house.field.consumers(), open_files(), tasks())
            link = house.running.context.store.link
            for round in range(50):
                seen = link.reconnects
                for n in range(20):
                    await house.field.put("orders", name=f"{round}-{n}")
                await kick(admin, f"{namespace} controller")
                async with asyncio.timeout(10.0):
                    await link.wait_reconnect(seen)
            await house.field.reaches("orders", "Running")

            async def as_before() -> object:
                gc.collect()
                now = (await house.field.consumers(), open_files(), tasks())
                more = (now[2] - before[2], before[2] - now[2])
                return now == before or _Shown(f"{now[:2]} before {before[:2]}, tasks {more}")

            await eventually(as_before, within=30.0)
            assert builder.world.count("start") == 1
        await admin.close()


def tasks() -> Counter[str]:
    """What runs in this loop, by coroutine."""
    return Counter(str(getattr(t.get_coro(), "__qualname__", t)) for t in asyncio.all_tasks())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class _Shown:
    """Falsy, and says what was seen."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return self._words
