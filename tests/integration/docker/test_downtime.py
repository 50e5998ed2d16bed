"""The controller dies, and what runs in containers, ends or changes meanwhile is judged right afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.dockyard import Dockyard
from nexthos_testing.wait import eventually

# Works until somebody answers it; a signal before that ends it all the same.
JOB = """\
input: {{generate: {{count: 1, mapping: 'root = "work"'}}}}
pipeline:
  processors:
    - nats_request_reply: {{urls: ["${{NATS_URL}}"], subject: {inlet}, timeout: 10m}}
output: {{nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}}}
"""
COUNTING = """\
input: {{generate: {{count: 60, interval: 30ms, mapping: 'root = count("n")'}}}}
output: {{nats_jetstream: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}}}
"""


async def counting(yard: Dockyard) -> Callable[[], Awaitable[int]]:
    """A job of 60 messages, each confirmed; how many came."""
    name, outlet = f"{yard.namespace}-out", yard.field.outlet("load")
    await yard.field.js.add_stream(name=name, subjects=[outlet])
    await yard.field.config("load", COUNTING.format(outlet=outlet))
    await yard.field.put("load", lifecycle="job")

    async def count() -> int:
        return int((await yard.field.js.stream_info(name)).state.messages)

    return count


@pytest.mark.fault(2)
async def test_over_a_controllers_end_ten_containers_run_on_and_none_is_started_again(
    yard: Dockyard,
) -> None:
    ids = [f"p{n}" for n in range(10)]
    for key in ids:
        await yard.field.echo(key)
        await yard.field.put(key)
    for key in ids:
        await yard.field.reaches(key, "Running", within=40.0)
    before = yard.lives()
    assert len(before) == 10
    await yard.controller.kill()
    assert yard.lives() == before
    await yard.controller.start()
    assert (await yard.field.request("reconcile"))["unsettled"] == 0
    for key in ids:
        status = await yard.field.reaches(key, "Running")
        assert (status.restarts, status.drifts, status.ready) == (0, 0, 1), key
    assert yard.lives() == before


async def test_changes_made_while_no_controller_lives_are_applied_afterwards(
    yard: Dockyard,
) -> None:
    ids = ["same", "deleted", "paused", "newer"]
    before = {key: await yard.runs(key) for key in ids}
    await yard.controller.kill()
    await yard.field.delete("deleted")
    await yard.field.put("paused", "paused")
    await yard.field.echo("newer", "v2", "2")
    await yard.field.put("newer", version="2")
    await yard.controller.start()
    await yard.gone("deleted")
    await yard.field.reaches("paused", "Paused")
    await yard.field.until_it_says("newer", "v2 hello")
    assert yard.containers("deleted") == []
    assert yard.one("same")["Id"] == before["same"]
    assert yard.one("paused")["Id"] == before["paused"]
    await eventually(lambda: len(yard.containers("newer")) == 1)
    assert (await yard.field.reaches("same", "Running")).restarts == 0


@pytest.mark.fault(80)
async def test_a_service_that_was_killed_while_no_controller_lived_is_counted_and_runs_again(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    await yard.controller.kill()
    yard.hands.kill(container)
    await eventually(lambda: not yard.running("orders"))
    await yard.controller.start()
    status = await yard.ended_for("orders", Reason.KILLED)
    assert status.restarts == 1
    assert await yard.field.says("orders") == "v1 hello"
    assert yard.one("orders")["Id"] == container


@pytest.mark.fault(80)
async def test_a_service_that_was_stopped_by_hand_while_no_controller_lived_runs_again(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    await yard.controller.kill()
    yard.hands.api.stop(container)
    await yard.controller.start()
    assert await yard.field.says("orders") == "v1 hello"
    status = await yard.field.reaches("orders", "Running")
    assert (yard.one("orders")["Id"], status.restarts) == (container, 0)


async def begun(yard: Dockyard) -> asyncio.Future[str]:
    """A job that waits for the test's answer; the subject to answer to."""
    asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    questions = await yard.field.nc.subscribe(yard.field.inlet("load"))
    text = JOB.format(inlet=yard.field.inlet("load"), outlet=yard.field.outlet("load"))
    await yard.field.config("load", text)
    await yard.field.put("load", lifecycle="job", retries=3, stop_timeout="3s")
    question = await questions.next_msg(timeout=20.0)
    await questions.unsubscribe()
    asked.set_result(question.reply)
    return asked


@pytest.mark.fault(35, 80)
async def test_a_job_that_finished_while_no_controller_lived_is_completed_and_not_revived(
    yard: Dockyard,
) -> None:
    heard = await yard.field.nc.subscribe(yard.field.outlet("load"))
    asked = await begun(yard)
    life = yard.lives()
    await yard.controller.kill()
    await yard.field.nc.publish(await asked, b"done")
    assert (await heard.next_msg(timeout=10.0)).data == b"done"
    await eventually(lambda: not yard.running("load"))
    await yard.controller.start()
    await yard.field.reaches("load", "Completed")
    await yard.field.request("reconcile", id="load")
    state = yard.one("load")["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 0)
    assert life == {yard.one("load")["Id"]: state["StartedAt"]}


@pytest.mark.fault(80)
@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.fault(79))])
async def test_a_job_that_was_ended_by_hand_while_no_controller_lived_runs_again(
    yard: Dockyard, how: str
) -> None:
    await begun(yard)
    await yard.controller.kill()
    container = yard.one("load")["Id"]
    questions = await yard.field.nc.subscribe(yard.field.inlet("load"))
    yard.hands.kill(container) if how == "kill" else yard.hands.api.stop(container)
    await yard.controller.start()
    question = await questions.next_msg(timeout=20.0)
    status = await yard.field.status("load")
    assert status is not None
    assert str(status.phase) != "Completed"
    await yard.field.nc.publish(question.reply, b"done")
    status = await yard.field.reaches("load", "Completed")
    assert status.restarts == (1 if how == "kill" else 0)


@pytest.mark.fault(35)
async def test_a_job_that_ends_well_is_completed_over_controllers_and_kept_from_reviving(
    yard: Dockyard,
) -> None:
    count = await counting(yard)
    await yard.field.reaches("load", "Completed")
    assert await count() == 60
    ended = yard.one("load")["State"]
    await yard.controller.kill()
    await yard.controller.start()
    await yard.field.request("reconcile", id="load")
    assert yard.one("load")["State"] == ended
    await yard.field.put("load", lifecycle="job", restart_nonce=1)
    await yard.field.reaches("load", "Completed")
    assert await count() == 120


@pytest.mark.fault(79)
@pytest.mark.parametrize("how", ["paused", "docker stop"])
async def test_a_job_that_drains_midway_is_not_completed_and_runs_again(
    yard: Dockyard, how: str
) -> None:
    count = await counting(yard)
    await eventually(count)
    container = yard.one("load")["Id"]
    if how == "paused":
        await yard.field.put("load", "paused", lifecycle="job")
        await yard.field.reaches("load", "Paused")
        assert yard.one("load")["State"]["ExitCode"] == 143
        await yard.field.put("load", lifecycle="job")
    else:
        yard.hands.api.stop(container)
    status = await yard.field.reaches("load", "Completed")
    assert status.restarts == 0
    assert yard.one("load")["Id"] == container
    assert await count() > 60  # all of it once more, after a part
