"""What the executor refuses before anything is made: names, and a store that no container reaches."""

from __future__ import annotations

from typing import Any

import pytest

from nexthos_controller.execution import Owner, Spec
from nexthos_controller.executors.contract import Connection, ExecutorContext
from nexthos_controller.executors.docker import DockerExecutor
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Reason

GIVEN = Pipeline.model_validate({"status": "published", "version": "1"}, strict=False)


def executor(url: str, **options: Any) -> DockerExecutor:
    async def fetch(spec: Spec) -> bytes:
        pytest.fail("a check is pure: it fetches nothing")

    return DockerExecutor(
        ExecutorContext(
            owner=Owner("ns", "one"),
            fetch=fetch,
            connections={"default": Connection(url)},
            images={"default": "nexthos/runner:dev"},
            options=options,
        )
    )


@pytest.mark.parametrize("host", ["127.0.0.1:4222", "localhost", "[::1]:4222", "localhost:4222"])
def test_a_store_on_loopback_is_refused_with_what_to_do(host):
    [problem] = executor(f"nats://{host}").check(GIVEN)
    assert (problem.reason, problem.field) == (Reason.CANNOT_RUN_HERE, "executor")
    assert "connections.default.url" in problem.message


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("nats://nats:4222", {}),
        ("nats://127.0.0.1:4222,nats://10.0.0.1:4222", {}),
        ("nats://127.0.0.1:4222", {"network": "host"}),
        ("nats://127.0.0.1:4222", {"store": {"url": "nats://nats:4222"}}),
    ],
)
def test_a_store_that_can_be_reached_is_not(url, options):
    assert executor(url, **options).check(GIVEN) == []
