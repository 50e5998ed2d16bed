"""`nexthos dev` on a laptop that sleeps, or is too busy for some seconds: its lease is lost meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_testing.dev import Dev
from nexthos_testing.field import ECHO, Field
from nexthos_testing.wait import eventually


def echo(mark: str) -> str:
    return ECHO.format(inlet="in.orders", outlet="out.orders", mark=mark)


class Somebody(Field):
    """Sends to the subjects that `echo` names."""

    def inlet(self, key: str) -> str:
        return f"in.{key}"

    def outlet(self, key: str) -> str:
        return f"out.{key}"


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    made = Dev(tmp_path / "home", tmp_path / "pipelines")
    yield made
    await made.clean()


async def answers(dev: Dev, words: str) -> None:
    async with dev.user() as user:
        await Somebody(user.nc, user.names).until_it_says("orders", words)


async def sleeps(dev: Dev, seconds: float) -> None:
    """Longer than a lease lasts: the time itself is what is tested."""
    dev.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        dev.signal(signal.SIGCONT)


@pytest.mark.fault(138)
@pytest.mark.parametrize("options", [(), ("--clean",)], ids=["kept", "clean"])
async def test_after_a_sleep_an_edit_is_taken_and_shown_and_the_end_leaves_no_engine(dev, options):
    dev.write("orders.yaml", echo("v1"))
    await dev.start(*options)
    await answers(dev, "v1 hello")
    await sleeps(dev, 7.0)
    await dev.says("lease")
    dev.write("orders.yaml", echo("v2"))
    await answers(dev, "v2 hello")
    before = len(dev.output)
    await eventually(lambda: "Running 1/1" in dev.output[before - 2000 :])
    dev.signal()
    assert await dev.ends(within=25.0) in (0, 130)


@pytest.mark.fault(138)
async def test_an_end_that_was_asked_for_right_after_a_sleep_leaves_no_engine(dev):
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answers(dev, "v1 hello")
    await sleeps(dev, 7.0)
    dev.signal()
    assert await dev.ends(within=25.0) in (0, 130)
