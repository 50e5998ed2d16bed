"""Too few open files, of the controller or of its engines: told as that, with what to do, and it recovers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_shared.model import PipelineStatus
from nexthos_shared.reasons import Reason
from nexthos_testing.controller import CONTROLLER, ControllerProcess, kill_leftovers
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

pytestmark = [pytest.mark.fault(145), pytest.mark.timeout(180)]
ADVICE = "too many open files: raise the limit of open files"
GENERATE = "input: {generate: {mapping: 'root = 1', interval: 1s}}\noutput: {drop: {}}\n"
FEW, MANY = 2, 80  # connections of one pipeline
LIMITED = ("/bin/sh", "-c", 'ulimit -n 64; exec "$0" "$@"', str(CONTROLLER))
NEVER = (Reason.INTERNAL_ERROR, Reason.CRASH_LOOP, Reason.ENGINE_MISSING)


def connections(number: int) -> str:
    output = '{nats: {urls: ["${NATS_URL}"], subject: x}}'
    outputs = ", ".join([output] * number)
    return GENERATE.replace("{drop: {}}", f"{{broker: {{outputs: [{outputs}]}}}}")


@pytest.fixture
async def field(nats_server: NatsServer, namespace: str, tmp_path: Path) -> AsyncIterator[Field]:
    """A user beside a controller that has 64 open files, as its engines have."""
    state = tmp_path / "state"
    state.mkdir()
    settings = tmp_path / "settings.yaml"
    settings.write_text("executors: {process: {}, streams: {}}\n")
    environ = {"NEXTHOS_CONFIG": str(settings)}
    controller = ControllerProcess(nats_server.url, namespace, state, environ, command=LIMITED)
    try:
        await controller.start()
        async with field_of(nats_server.url, namespace) as field:
            yield field
    finally:
        if controller.running:
            await controller.kill()
        kill_leftovers(state)


def words_of(status: PipelineStatus | None) -> str:
    """What is wrong with it, and never one of what it is not."""
    complaint = status.complaint if status is not None else None
    if complaint is None:
        return ""
    assert complaint.reason not in NEVER, complaint
    return complaint.message


async def test_a_controller_out_of_files_starts_no_more_than_it_can_watch(field: Field) -> None:
    ids = [f"p{number}" for number in range(32)]
    for key in ids:
        await field.config(key, GENERATE)
        await field.put(key, version="1", executor="process")

    async def seen() -> Counter[str]:
        found: Counter[str] = Counter()
        for key in ids:
            status = await field.status(key)
            running = status is not None and str(status.phase) == "Running"
            found["running" if running else "told" if ADVICE in words_of(status) else ""] += 1
        return found

    async def settled() -> bool:
        found = await seen()
        return found["running"] >= 8 and found["told"] >= 4 and not found[""]

    await eventually(settled, within=60.0, every=0.5)
    running = [key for key in ids if await field.phase(key) == "Running"]
    for key in running:
        await field.delete(key)
    ids = [key for key in ids if key not in running]

    async def all_run() -> bool:
        return (await seen())["running"] == len(ids)

    await eventually(all_run, within=90.0, every=0.5)


@pytest.mark.parametrize("executor", ["process", "streams"])
async def test_an_engine_out_of_files_says_so_and_runs_once_it_needs_fewer(
    field: Field, executor: str
) -> None:
    await field.config("orders", connections(MANY))
    await field.put("orders", version="1", executor=executor)

    async def told() -> bool:
        return ADVICE in words_of(await field.status("orders"))

    await eventually(told, within=60.0)
    await field.config("orders", connections(FEW), "2")
    await field.put("orders", version="2", executor=executor)
    await field.reaches("orders", "Running", within=60.0)
