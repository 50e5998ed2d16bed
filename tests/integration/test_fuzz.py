"""A real store and a real controller, and somebody who writes anything into every bucket and asks anything.

The same seed in CI, for some seconds; `make fuzz` goes on for FUZZ_SECONDS with others. What fails names the
round, and its seed repeats it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from nexthos_shared import object_format
from nexthos_shared.model.entries import read_status
from nexthos_shared.names import INSTALLATION_KEY, LEASE_KEY
from nexthos_testing import hostile
from nexthos_testing.hostile import RawNats, raw_nats
from nexthos_testing.house import Builder, House
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

SECONDS = float(os.environ.get("FUZZ_SECONDS", "45"))
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "1"))
WRITES = 150  # in one round, before it is looked whether the controller acts
HEALTHY = ("one", "two", "three")
HEADS = (
    None,
    None,
    None,
    b"abcd",
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0\r\nStatus: 503\r\n\r\n",
    b"NATS/1.0\r\nStatus: 100\r\nDescription: Idle Heartbeat\r\nNats-Consumer-Stalled: x.y\r\n\r\n",
    b"NATS/1.0\r\nKV-Operation: \xff\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: x\r\nNats-Time-Stamp: x\r\n\r\n",
)
ENDPOINTS = ("status", "list", "reconcile", "logs", "usage", "x")

Write = tuple[bytes, bytes, bytes | None]  # subject, body, headers


def drawn(strategy: st.SearchStrategy[bytes], count: int, number: int) -> list[bytes]:
    """So many examples, the same ones for the same number."""
    found: list[bytes] = []

    @seeded(number)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(example: bytes) -> None:
        found.append(example)

    draw()
    return found


def writes(namespace: str, number: int) -> list[Write]:
    """What is written in one round, in an order that its number says."""
    chance = random.Random(number)
    keys = [b"bad", b"bad2", b"A", b"a.b", b"\xff\xfe", b"x" * 300]
    found: list[Write] = []

    def into(subjects: list[bytes], strategy: st.SearchStrategy[bytes]) -> None:
        for body in drawn(strategy, WRITES // 5, chance.randrange(2**32)):
            found.append((chance.choice(subjects), body, chance.choice(HEADS)))

    def bucket(name: str) -> bytes:
        return f"$KV.{namespace}-{name}.".encode()

    metas = [
        object_format.meta_subject(f"{namespace}-configs", f"{key}/{version}").encode()
        for key in ("bad", "bad2", "other")
        for version in ("1", "2")
    ]
    into([*metas, f"$O.{namespace}-configs.M.!!".encode()], hostile.anything(*hostile.META))
    into([bucket("pipelines") + key for key in keys], hostile.anything(*hostile.ENTRY))
    statuses = [bucket("status") + key for key in [*keys, *(k.encode() for k in HEALTHY)]]
    into(statuses, hostile.anything(*hostile.STATUS))
    control = [bucket("control") + key for key in (b"abandoned.x", b"abandoned.\xff", b"other")]
    into(control, hostile.anything("by", "at"))
    requests = [f"{namespace}.svc.{endpoint}".encode() for endpoint in ENDPOINTS]
    into(requests, hostile.anything(*hostile.REQUEST))
    chance.shuffle(found)
    return found


async def write(raw: RawNats, all_of_them: list[Write]) -> None:
    for subject, body, head in all_of_them:
        if len(body) < 900_000:
            await raw.publish(subject, body, head=head)


async def acts(house: House, key: str) -> None:
    """A put of a healthy pipeline is acted upon, the others run on, and /readyz says ok."""
    await house.publish(key)
    for other in (key, *HEALTHY):
        await eventually(partial(runs, house, other), within=30.0)
    url = f"{house.running.http}/readyz"
    answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
    assert answer == b"ok\n"
    metrics = f"{house.running.http}/metrics"
    await asyncio.to_thread(lambda: urllib.request.urlopen(metrics, timeout=10).read())
    await house.field.request("list")
    reply = await house.field.request("status")
    assert reply["acts"], json.dumps(reply)
    await house.field.delete(key)


async def runs(house: House, key: str) -> bool:
    # By our own client: others take a header that somebody wrote for the server's word.
    status = read_status(await house.running.context.store.statuses.get(key))
    return status is not None and status.phase == "Running"


@pytest.fixture
async def fuzzed(fresh_nats: NatsServer, namespace: str, tmp_path: Path) -> Builder:
    """Controllers of a store that holds healthy pipelines."""
    builder = Builder(fresh_nats.url, namespace, tmp_path / "state")
    async with builder.house() as house:
        for key in HEALTHY:
            await house.publish(key)
            await house.field.reaches(key, "Running")
    return builder


@pytest.mark.fault(104)
@pytest.mark.timeout(max(180.0, 20 * SECONDS))
async def test_whatever_is_written_and_asked_all_other_pipelines_are_acted_upon(fuzzed):
    until, number = time.monotonic() + SECONDS, FIRST_SEED
    while time.monotonic() < until or number == FIRST_SEED:
        print(f"FUZZ_SEED={number}")
        all_of_them = await asyncio.to_thread(writes, fuzzed.namespace, number)
        half = len(all_of_them) // 2
        async with raw_nats(fuzzed.url) as raw:
            async with fuzzed.house(debounce=0.5) as house:
                await write(raw, all_of_them[:half])
                await acts(house, f"new{number}")
            await write(raw, all_of_them[half:])  # while nobody acts
            async with fuzzed.house(debounce=0.5) as house:
                await acts(house, f"again{number}")
        number += 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("key", [LEASE_KEY, INSTALLATION_KEY])
async def test_whatever_a_key_of_the_controllers_holds_they_act_in_the_end(fuzzed, key):
    values = [*hostile.KNOWN[:12], *drawn(hostile.objects(*hostile.CLAIM), 6, FIRST_SEED)]
    subject = f"$KV.{fuzzed.namespace}-control.{key}".encode()
    async with raw_nats(fuzzed.url) as raw, fuzzed.house(debounce=0.5) as house:
        for value in values:
            await raw.publish(subject, value)
        if key == INSTALLATION_KEY:
            await eventually(lambda: house.running.context.halted or house.running.term is None)
            control = await house.field.js.key_value(f"{fuzzed.namespace}-control")
            await control.delete(key)
        await eventually(
            lambda: not house.running.context.halted and house.running.term, within=40.0
        )
        await house.running.context.link.nc.flush()
        await acts(house, "after")
