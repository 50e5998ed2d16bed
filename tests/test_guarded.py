"""The tests' own watch over what controllers are refused: it must see it, or it guards nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import nats
import pytest

from nexthos_shared.nats.connection import connect
from nexthos_testing.guarded import environ_for, options_for
from nexthos_testing.nats import NatsServer


@pytest.mark.parametrize("what", ["a publish", "a subscription", "a login"])
async def test_what_a_server_refuses_a_controller_is_seen(
    namespace: str, tmp_path: Path, what: str
) -> None:
    own = "" if what != "a login" else 'authorization { users: [{user: "x", password: "x"}] }'
    async with NatsServer(tmp_path / "nats", config=own) as server:
        options = options_for(server.url, namespace)
        with suppress(Exception):
            async with connect(options, name="controller", daemon=False) as link:
                if what == "a publish":
                    await link.nc.publish(f"$JS.API.STREAM.DELETE.KV_{namespace}-pipelines")
                else:
                    await link.nc.subscribe("$KV.>")
                await link.nc.flush()
        [line] = server.refusals()
        assert f"{namespace}-controller" in line
        assert server.refusals() == []


async def test_a_controller_of_the_tests_is_that_user_and_a_test_may_do_anything(
    namespace: str, tmp_path: Path
) -> None:
    async with NatsServer(tmp_path / "nats") as server:
        nc = await nats.connect(server.url)
        await nc.jetstream().create_key_value(bucket="mine")
        await nc.jetstream().delete_key_value("mine")
        await nc.close()
        assert environ_for(namespace)["NATS_USER"] == f"{namespace}-controller"
        assert server.refusals() == []
