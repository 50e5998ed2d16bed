"""A pipeline moves between a container and a platform: its messages stay, and none comes twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from nexthos_controller.settings import Settings
from nexthos_testing.docker import RUNNER, Hands
from nexthos_testing.dockyard import sweep
from nexthos_testing.field import field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.platform_moves import moved

MOVES = [
    ("docker", "service"),
    ("workloads", "service"),
    ("workloads", "job"),
    ("docker", "service"),
]


async def test_moved_from_a_container_to_a_platform_its_messages_are_the_same(
    open_nats: NatsServer, namespace: str, tmp_path: Path
) -> None:
    hands = Hands()
    inside = f"nats://{hands.gateway()}:{open_nats.port}"
    settings = Settings.model_validate(
        {
            "namespace": namespace,
            "executor": "docker",
            "executors": {"docker": {}, "workloads": {}},
            "connections": {"default": {"url": inside}},
            "engines": {"default": {"image": RUNNER}},
            "http": "127.0.0.1:0",
            "state_dir": str(tmp_path / "state"),
        }
    )
    try:
        async with field_of(open_nats.url, namespace) as field:
            await moved(open_nats.url, field, MOVES, settings)
        assert hands.labelled(namespace=namespace) == []
    finally:
        await asyncio.to_thread(sweep, hands, namespace)
        hands.close()
