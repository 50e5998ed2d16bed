"""A pipeline moves between processes, streams and a platform: its messages stay, and none comes twice."""

from __future__ import annotations

from pathlib import Path

from nexthos_controller.settings import Settings
from nexthos_testing.field import field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.platform_moves import moved

MOVES = [
    ("process", "service"),
    ("workloads", "service"),
    ("streams", "service"),
    ("workloads", "service"),
    ("workloads", "job"),
    ("process", "service"),
]


async def test_moved_to_a_platform_and_back_its_messages_are_the_same_and_none_comes_twice(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> None:
    settings = Settings(
        namespace=namespace,
        executor="process",
        executors={"streams": {}, "workloads": {}},
        http="127.0.0.1:0",
        state_dir=tmp_path / "state",
    )
    async with field_of(nats_server.url, namespace) as field:
        await moved(nats_server.url, field, MOVES, settings)
