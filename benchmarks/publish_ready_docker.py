"""publish -> ready in containers: ours, against `docker run -d` of the bare engine; and the runner alone.

Both run the same engine out of the same image, with the same configuration, on Docker's own bridge. The
other gets its configuration by a bind mount, and no runner. Whoever starts it by hand waits for the
`docker` command too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from benchmarks.extent import Extent
from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from benchmarks.processes import MIB
from benchmarks.publish_ready import SCALES
from benchmarks.starts import (
    CONFIG,
    REST,
    WITHIN,
    Start,
    add_stream,
    engine_ready,
    figures,
    listening,
    managed,
    until_ready,
)
from nexthos_shared.names import ENV_HTTP_PASSWORD
from nexthos_testing.docker import RUNNER, Hands, what_is_missing
from nexthos_testing.field import Field

NAMESPACE = "bdocker"
ENGINE = "/usr/local/bin/nexthos-engine"
IMAGES = (RUNNER, "nexthos/controller:dev")
HTTP = 'http: {address: "0.0.0.0:4195"}\n'
STARTS = 25  # of the runner alone


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Run it on ground of its own; nothing where no Docker daemon answers."""
    if missing := what_is_missing():
        progress(f"publish-ready-docker: left out: {missing}")
        return []
    scale, hands = SCALES[extent], Hands()
    ours: list[Start] = []
    other: list[Start] = []
    try:
        async with (
            ground(host="0.0.0.0") as here,
            ended_after(here.controller(NAMESPACE)) as controller,
        ):
            url = f"nats://{hands.gateway()}:{here.port}"
            settings = str(_settings(here, url))
            await controller.start(NEXTHOS_EXECUTOR="docker", NEXTHOS_CONFIG=settings)
            field_ = here.field(NAMESPACE)
            await add_stream(field_)
            for number in range(-scale.warm_ups, scale.pairs):
                progress(f"publish-ready-docker: pair {number + 1} of {scale.pairs}")
                pair = await _pair(here, field_, hands, url, number)
                if number >= 0:
                    ours.append(pair[0])
                    other.append(pair[1])
            runner = await _runner_alone(here, field_, 5 if extent is Extent.QUICK else STARTS)
        sizes = [await _size(hands, image) for image in IMAGES]
    finally:
        hands.remove_all(namespace=NAMESPACE)
        hands.close()
    words = "docker run -d of the bare engine"
    return [*figures("docker", Target(1.5, "ratio"), words, ours, other), runner, *sizes]


def _settings(here: Ground, url: str) -> Path:
    file = here.folder / "controller.json"  # JSON is YAML
    file.write_text(
        json.dumps(
            {"connections": {"default": {"url": url}}, "engines": {"default": {"image": RUNNER}}}
        )
    )
    return file


async def _pair(
    here: Ground, field_: Field, hands: Hands, url: str, number: int
) -> tuple[Start, Start]:
    """One of each, in turn first and second."""
    key, bare = f"p{number + 100}", f"b{number + 100}"
    ready = engine_ready(partial(_password, hands))
    if number % 2:
        by_hand = await _by_hand(here, field_, hands, url, bare)
        return await managed(field_, key, ready), by_hand
    return await managed(field_, key, ready), await _by_hand(here, field_, hands, url, bare)


def _password(hands: Hands, container: str) -> str:
    """What opens the HTTP of that engine, as its container was told."""
    inspected = hands.named(container)
    assert inspected is not None
    told = dict(line.split("=", 1) for line in inspected["Config"]["Env"])
    return str(told[ENV_HTTP_PASSWORD])


async def _by_hand(here: Ground, field_: Field, hands: Hands, url: str, key: str) -> Start:
    file = here.folder / f"{key}.yaml"
    file.write_text(HTTP + CONFIG.format(key=key))
    file.chmod(0o644)
    here.folder.chmod(0o755)  # the engine in the container is another user
    await field_.js.publish(f"bench.in.{key}", b"hello")
    async with asyncio.timeout(WITHIN), listening(field_, key) as heard:
        began = time.perf_counter()
        async with _docker_run(hands, file, url) as endpoint:
            ready = await until_ready(endpoint)
            start = Start(ready - began, await heard.message - began)
    await asyncio.sleep(REST)
    return start


@asynccontextmanager
async def _docker_run(hands: Hands, file: Path, url: str) -> AsyncIterator[str]:
    options = [
        "-d",
        "--network",
        "bridge",
        "-e",
        f"NATS_URL={url}",
        "-v",
        f"{file}:/config.yaml:ro",
    ]
    process = await asyncio.create_subprocess_exec(
        "docker", "run", *options, "--entrypoint", ENGINE, RUNNER, "-c", "/config.yaml",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    container = said.decode().strip()
    try:
        found = hands.named(container)
        assert found is not None
        yield f"http://{found['NetworkSettings']['IPAddress']}:4195"
    finally:
        await asyncio.to_thread(hands.api.remove_container, container, force=True)


async def _runner_alone(here: Ground, field_: Field, times: int) -> Figure:
    """From the start of its process to the end of an engine that does nothing, against a bare Python."""
    await field_.config("alone", CONFIG.format(key="alone"))
    ours: list[float] = []
    other: list[float] = []
    for number in range(times):
        folder = here.folder / f"alone-{number}"
        env = {
            "PATH": os.defpath,
            "NATS_URL": here.url,
            "NEXTHOS_NAMESPACE": NAMESPACE,
            "NEXTHOS_PIPELINE": "alone",
            "NEXTHOS_VERSION": "1",
            "NEXTHOS_DIR": str(folder),
            "NEXTHOS_ENGINE": str(_nothing(here)),
        }
        folder.mkdir()
        ours.append(await _lasts(["-I", "-m", "nexthos_runner"], env))
        other.append(await _lasts(["-I", "-c", "pass"], env))
    return Figure(
        "runner, start to exec",
        "s",
        tuple(ours),
        tuple(other),
        "python -I -c pass",
        Target(0.1, "ours"),
    )


def _nothing(here: Ground) -> Path:
    """A program under an engine's name, so that it is not asked what it is."""
    file = here.folder / "bento"
    if not file.exists():
        file.symlink_to("/bin/true")
    return file


async def _lasts(arguments: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=env)
    code = await process.wait()
    if code != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {code}")
    return time.perf_counter() - began


async def _size(hands: Hands, image: str) -> Figure:
    size = (await asyncio.to_thread(hands.api.inspect_image, image))["Size"]
    return Figure(f"size of {image}", "MiB", (size / MIB,))
