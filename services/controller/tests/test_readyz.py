"""/readyz fails, with the reason, while what is written does not reach the controller."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from functools import partial

import pytest

from nexthos_controller.loop.sources import Sources
from nexthos_controller.runtime import context as context
from nexthos_shared.reasons import Reason
from nexthos_testing.house import House
from nexthos_testing.wait import eventually


async def readyz(house: House) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{house.running.http}/readyz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def says(house: House, code: int, *words: str) -> bool:
    told = await readyz(house)
    return told[0] == code and all(word in told[1] for word in words)


@pytest.mark.fault(100)
async def test_a_watch_that_does_not_get_on_is_told_and_over_when_it_does(house, monkeypatch):
    monkeypatch.setattr(context, "BEHIND", 0.2)
    assert await readyz(house) == (200, "ok\n")
    js, configs = house.field.js, f"OBJ_{house.field.names.configs}"
    kept = (await js.stream_info(configs)).config
    await js.delete_stream(configs)
    await eventually(partial(says, house, 503, "not ready", house.field.names.configs), within=30)
    reply = await house.field.request("status")
    assert not reply["ready"]
    assert Reason.WATCH_BEHIND in [p["reason"] for p in reply["problems"]]
    await js.add_stream(kept)
    await eventually(partial(says, house, 200, "ok"), within=30)
    assert (await house.field.request("status"))["ready"]


async def test_a_feed_that_ends_by_a_defect_again_and_again_is_told(builder, monkeypatch):
    monkeypatch.setattr(context, "BEHIND", 0.2)

    async def fails(_: Sources) -> None:
        raise RuntimeError

    monkeypatch.setattr(Sources, "_abandoned", fails)
    async with builder.house() as house:
        await eventually(partial(says, house, 503, "RuntimeError", "the controller's log"))


@pytest.mark.fault(100)
async def test_a_term_that_never_catches_up_is_told(builder, monkeypatch):
    monkeypatch.setattr(context, "BEHIND", 0.2)
    never = asyncio.Event()

    async def hangs(_: Sources) -> None:
        await never.wait()

    monkeypatch.setattr(Sources, "_look_at_all", hangs)
    async with builder.house(leads=False) as house:
        await eventually(partial(says, house, 503, "the term does not get on", "caught up"))
