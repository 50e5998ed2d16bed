"""The endpoint `logs` over a fake executor and a real NATS: what is told, to whom, and for how long."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from nexthos_controller.api import inbox
from nexthos_controller.api.log_stream import MOST_FOLLOWERS
from nexthos_controller.execution import LogLine
from nexthos_controller.executors.fake import FakeWorld
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_testing.house import CONFIG, House
from nexthos_testing.log_reader import in_flight, log_reader
from nexthos_testing.wait import eventually


@pytest.fixture
async def name(house: House) -> str:
    """The one execution of the pipeline `orders`, which runs."""
    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    return house.name("orders")


def says(world: FakeWorld, name: str, *texts: str) -> None:
    for text in texts:
        world.say(name, text)


# ---- what there is


async def test_without_follow_the_last_lines_come_and_then_an_end(house, name):
    says(house.world, name, "one", "two", "three")
    async with log_reader(house.field, "orders", tail=2) as reader:
        assert await reader.until_end() == "Complete"
    assert reader.lines == [
        {"execution": name, "replica": 0, "stream": "output", "text": text}
        for text in ("two", "three")
    ]
    assert reader.dropped == 0


async def test_a_plain_request_gets_its_lines_and_needs_no_answer(house, name):
    says(house.world, name, "one")
    reply = await house.field.request("logs", id="orders")
    assert [line["text"] for line in reply["lines"]] == ["one"]
    assert reply["replicas"] == 1


async def test_a_value_of_env_in_a_url_is_hidden(house, name):
    await house.field.put("orders", version="1", env={"PASS": "p@ss"})
    await eventually(lambda: is_stored(house))
    says(house.world, house.name("orders"), "Get http://u:p%40ss@host/: refused")
    reply = await house.field.request("logs", id="orders")
    assert [line["text"] for line in reply["lines"]] == ["Get http://u:***(PASS)@host/: refused"]


def is_stored(house: House) -> bool:
    assert house.running.term is not None
    entry = house.running.term.controller.desired.entry("orders")
    return entry is not None and entry.pipeline is not None and bool(entry.pipeline.env)


async def test_lines_of_several_replicas_are_merged_in_the_order_of_their_times(house):
    await house.field.config("orders", CONFIG)
    await house.field.put("orders", replicas=2)
    await house.field.reaches("orders", "Running")
    for replica, times in ((0, (1.0, 4.0)), (1, (2.0, 3.0))):
        [thing] = [t for t in house.world.things.values() if t.execution.replica == replica]
        for time in times:
            thing.lines.append(LogLine(f"{replica} at {time}", "log", time))
            thing.lines.append(LogLine(f"{replica} after {time}", "output"))

    async with log_reader(house.field, "orders") as reader:
        await reader.until_end()
    assert reader.texts == [
        f"{replica} {word} {time}"
        for replica, time in ((0, 1.0), (1, 2.0), (1, 3.0), (0, 4.0))
        for word in ("at", "after")
    ]
    async with log_reader(house.field, "orders", replica=1) as reader:
        await reader.until_end()
    assert {line["replica"] for line in reader.lines} == {1}
    assert len(reader.lines) == 4


@pytest.mark.parametrize("character", ["x", "\0", "€", "\U0001f600"])
async def test_no_message_is_larger_than_64_kib_and_long_lines_come_in_parts(
    house, name, character
):
    long, short = character * 64_000, character * 700
    says(house.world, name, long, *[short] * 300)
    async with log_reader(house.field, "orders", tail=400) as reader:
        await reader.until_end()
    assert max(reader.sizes) <= 64 * 1024
    assert len(reader.sizes) > 1
    parts = [line["text"] for line in reader.lines if line.get("more")]
    assert "".join([*parts, reader.texts[len(parts)]]) == long
    assert reader.texts[len(parts) + 1 :] == [short] * 300


async def test_of_more_lines_than_one_answer_holds_the_oldest_are_counted(house):
    await house.field.config("orders", CONFIG)
    await house.field.put("orders", replicas=3)
    await house.field.reaches("orders", "Running")
    for thing in house.world.things.values():
        thing.lines += (LogLine(f"{n}", "log", float(n)) for n in range(5_000))
    async with log_reader(house.field, "orders", tail=10_000) as reader:
        await reader.until_end()
    assert (len(reader.lines), reader.dropped) == (10_000, 5_000)
    assert reader.texts[-3:] == ["4999"] * 3


async def test_a_draft_has_no_lines(house):
    await house.field.put("orders", "draft")
    await house.field.reaches("orders", "Draft")
    async with log_reader(house.field, "orders") as reader:
        assert await reader.until_end() == "Complete"
    assert (reader.lines, reader.messages) == ([], 1)


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ({"id": "nobody"}, 404, "nobody"),
        ({"id": "nobody", "follow": True}, 404, "nobody"),
        ({"id": "no such/id"}, 400, "no such/id"),
        ({"id": "x", "tail": 10_001}, 400, "tail"),
        ({"id": "x", "tail": -1}, 400, "tail"),
        ({"id": "x", "replica": "first"}, 400, "replica"),
        ({}, 400, "id"),
    ],
)
async def test_a_bad_request_gets_an_error_as_at_other_endpoints(house, request_, code, words):
    reply = await house.field.request("logs", **request_)
    assert reply["code"] == code
    assert words in reply["message"]
    assert reply["headers"]["Nats-Service-Error-Code"] == str(code)


async def test_an_executor_that_does_not_answer_is_an_error_and_not_an_empty_log(house, name):
    house.world.faults.fail["find"] = [ExecutorUnreachable("no socket") for _ in range(3)]
    reply = await house.field.request("logs", id="orders")
    assert (reply["code"], reply["reason"]) == (503, "ExecutorUnreachable")


# ---- what comes


async def test_a_follower_gets_what_there_is_and_then_each_line_as_it_comes(house, name):
    says(house.world, name, "old", "one")
    async with log_reader(house.field, "orders", tail=1, follow=True) as reader:
        await reader.until("one")
        says(house.world, name, "two")
        await reader.until("two")
        assert reader.texts == ["one", "two"]


async def test_a_follower_that_never_answers_gets_its_lines_too(house, name):
    async with log_reader(house.field, "orders", follow=True) as reader:
        for text in ("one", "two", "three"):
            says(house.world, name, text)
            await reader.until(text, answer=False)
    assert reader.texts == ["one", "two", "three"]


async def test_a_follower_of_a_silent_pipeline_hears_at_once_that_it_is_followed(house, name):
    async with log_reader(house.field, "orders", follow=True) as reader:
        await reader.take(await reader.next(within=4.0))
    assert (reader.messages, reader.lines) == (1, [])


@pytest.mark.parametrize("tail", [0, 2, 1000])
async def test_a_follower_goes_on_with_the_next_life_and_gets_each_line_once(house, name, tail):
    says(house.world, name, *(f"old {n}" for n in range(5)))
    async with log_reader(house.field, "orders", tail=tail, follow=True) as reader:
        await reader.take(await reader.next())
        says(house.world, name, "last words")
        await reader.until("last words")
        for life in (2, 3):
            house.world.finish(name, 1)
            await house.field.restarted("orders", life - 1)
            says(house.world, name, f"life {life}", "on we go")
            await reader.until(f"life {life}", "on we go")
    old = [f"old {n}" for n in range(5)][5 - min(tail, 5) :]
    lives = [text for life in (2, 3) for text in (f"life {life}", "on we go")]
    assert reader.texts == [*old, "last words", *lives]


async def test_a_follower_goes_on_with_the_next_version_from_its_first_line(house, name):
    async with log_reader(house.field, "orders", follow=True) as reader:
        says(house.world, name, "one")
        await reader.until("one")
        await house.publish("orders", version="2")
        await house.field.reaches("orders", "Running")
        fresh = house.name("orders")
        says(house.world, fresh, "two")
        await reader.until("two")
    assert [(line["execution"], line["text"]) for line in reader.lines] == [
        (name, "one"),
        (fresh, "two"),
    ]
    assert fresh != name


async def test_a_follower_stays_with_a_paused_pipeline(house, name):
    async with log_reader(house.field, "orders", follow=True) as reader:
        says(house.world, name, "one")
        await reader.until("one")
        await house.field.put("orders", "paused")
        await house.field.reaches("orders", "Paused")
        await house.field.put("orders")
        await house.field.reaches("orders", "Running")
        says(house.world, name, "two")
        await reader.until("two")
    assert reader.texts == ["one", "two"]


async def test_following_ends_when_the_pipeline_is_deleted(house, name):
    async with log_reader(house.field, "orders", follow=True) as reader:
        await reader.take(await reader.next())
        await house.field.delete("orders")
        assert await reader.until_end() == "Deleted"


async def test_following_ends_when_the_pipeline_is_a_draft(house, name):
    async with log_reader(house.field, "orders", follow=True) as reader:
        await reader.take(await reader.next())
        await house.field.put("orders", "draft")
        assert await reader.until_end() == "Draft"


async def test_following_a_job_ends_when_it_is_done_with_all_that_it_said(house):
    await house.field.config("orders", CONFIG)
    await house.field.put("orders", lifecycle="job")
    await house.field.reaches("orders", "Running")
    name = house.name("orders")
    async with log_reader(house.field, "orders", follow=True) as reader:
        await reader.take(await reader.next())
        says(house.world, name, "the end")
        house.world.finish(name, 0)
        assert await reader.until_end() == "Complete"
    assert reader.texts == ["the end"]


async def test_a_controller_that_stops_says_so_to_who_follows(builder):
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        async with log_reader(house.field, "orders", follow=True) as reader:
            await reader.take(await reader.next())
            async with asyncio.TaskGroup() as tasks:
                end = tasks.create_task(reader.until_end())
                tasks.create_task(house.running.__aexit__(None, None, None))
            assert end.result() == "ControllerStopped"


# ---- bounds


async def test_a_reader_that_went_away_is_noticed(house, name):
    async with log_reader(house.field, "orders", follow=True) as reader:
        await reader.take(await reader.next())
        assert await in_flight(house.field) == 1

    async def none() -> bool:
        return await in_flight(house.field) == 0

    await eventually(none, within=20.0)


async def test_a_reader_that_listens_and_does_not_answer_any_more_is_given_up(
    house, name, monkeypatch
):
    monkeypatch.setattr(inbox, "ANSWER_WITHIN", 0.1)
    monkeypatch.setattr(inbox, "GIVE_UP", 0.3)
    async with log_reader(house.field, "orders", follow=True) as reader:
        await reader.take(await reader.next())
        says(house.world, name, "one")

        async def none() -> bool:
            return await in_flight(house.field) == 0

        await eventually(none)
        while reader.texts != ["one"]:
            await reader.take(await reader.next(), answer=False)


async def test_sixteen_may_follow_at_once_and_a_place_that_is_left_can_be_taken(house, name):
    async with AsyncExitStack() as stack:
        for _ in range(MOST_FOLLOWERS - 1):
            reading = log_reader(house.field, "orders", follow=True)
            reader = await stack.enter_async_context(reading)
            await reader.take(await reader.next())
        leaving = AsyncExitStack()
        reader = await leaving.enter_async_context(log_reader(house.field, "orders", follow=True))
        await reader.take(await reader.next())
        refused = await house.field.request("logs", id="orders", follow=True)
        assert refused["code"] == 429
        assert "16" in refused["message"]
        says(house.world, name, "to all")
        plain = await house.field.request("logs", id="orders")
        assert [line["text"] for line in plain["lines"]] == ["to all"]
        await leaving.aclose()

        async def served() -> bool:
            async with log_reader(house.field, "orders", follow=True) as reader:
                await reader.take(await reader.next())
            return reader.error is None

        await eventually(served, within=20.0)


@pytest.mark.fault(62)
async def test_a_flood_before_a_slow_reader_is_bounded_counted_and_keeps_nobody_waiting(
    house, name
):
    await house.publish("other")
    await house.field.reaches("other", "Running")
    count = 60_000
    async with log_reader(house.field, "orders", tail=0, follow=True) as reader:
        await reader.take(await reader.next())
        says(house.world, name, *(f"{n:>200}" for n in range(count)))
        unanswered = await reader.next()
        for _ in range(20):
            outcome = (await house.field.request("reconcile", id="other"))["outcomes"][0]
            assert outcome["phase"] == "Running"
        asked_again = await reader.next()  # it took too long: is it still there?
        await reader.take(unanswered)
        await reader.take(asked_again)
        await reader.until_told(count)
        says(house.world, name, "after the flood")
        await reader.until("after the flood")
    assert reader.dropped > 0
    assert len(reader.lines) + reader.dropped == count + 1
    numbers = [int(text) for text in reader.texts[:-1]]
    assert numbers == sorted(numbers)
    assert numbers[-1] == count - 1
