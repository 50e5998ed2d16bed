"""Entries that end without a marker: by a TTL of the bucket, or a purge of its stream. What runs, runs on."""

from __future__ import annotations

import json
from functools import partial

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.wait import eventually

SECOND = 10**9  # nanoseconds


async def expires(house) -> None:
    """An operator gives the bucket a TTL; what is older goes at once."""
    stream, nc = f"KV_{house.field.names.pipelines}", house.field.nc
    stored = json.loads((await nc.request(f"$JS.API.STREAM.INFO.{stream}", b"")).data)["config"]
    wanted = {**stored, "max_age": SECOND // 5, "duplicate_window": SECOND // 5}
    answer = await nc.request(f"$JS.API.STREAM.UPDATE.{stream}", json.dumps(wanted).encode())
    assert "error" not in json.loads(answer.data), answer.data


async def purged(house) -> None:
    await house.field.js.purge_stream(f"KV_{house.field.names.pipelines}")


async def is_empty(house) -> bool:
    info = await house.field.js.stream_info(f"KV_{house.field.names.pipelines}")
    return bool(info.state.messages == 0)


@pytest.mark.fault(126)
@pytest.mark.parametrize("end", [expires, purged])
@pytest.mark.parametrize("keys", [("a",), ("a", "b", "c")], ids=["one", "all"])
async def test_what_ends_without_a_marker_is_orphaned_within_one_resync_and_runs_on(
    builder, end, keys
):
    async with builder.house(resync=1.0) as house:
        for key in keys:
            await house.publish(key)
            await house.field.reaches(key, "Running")
        await end(house)
        await eventually(partial(is_empty, house))
        for key in keys:
            await house.field.complains(key, Reason.ORPHANED)
        assert {t.execution.state for t in house.world.things.values()} == {"running"}


@pytest.mark.fault(126)
async def test_of_several_only_those_that_ended_are_orphaned(builder):
    async with builder.house(resync=1.0) as house:
        for key in ("a", "b"):
            await house.publish(key)
            await house.field.reaches(key, "Running")
        names = house.field.names
        await house.field.js.purge_stream(
            f"KV_{names.pipelines}", subject=f"$KV.{names.pipelines}.b"
        )
        await house.field.complains("b", Reason.ORPHANED)
        assert await house.field.phase("a") == "Running"


async def test_a_marker_is_a_deletion_as_ever(builder):
    async with builder.house(resync=1.0) as house:
        await house.publish("a")
        await house.field.reaches("a", "Running")
        await house.field.nc.request(
            f"$KV.{house.field.names.pipelines}.a", b"", headers={"Nats-Marker-Reason": "MaxAge"}
        )

        async def gone() -> bool:
            return await house.field.status("a") is None

        await eventually(gone)
        assert not house.world.things
