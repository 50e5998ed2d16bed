"""A pipeline that takes every message there is: what it acknowledges and repeats disturbs nobody."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from nexthos_testing.controller import CONTROLLER, ControllerProcess, kill_leftovers
from nexthos_testing.nats import NatsServer

TAKES = """\
input: {nats: {urls: ["${NATS_URL}"], subject: "%s"}}
output: {drop: {}}
"""
COMMANDS = (["ls"], ["status"], ["status", "takes"], ["events"], ["top"], ["logs", "takes"])


@pytest.mark.fault(143)
@pytest.mark.parametrize("subject", [">", "_INBOX.>", "$SRV.>", "$JS.>"])
async def test_a_pipeline_that_takes_every_message_breaks_no_command_and_no_feed(
    fresh_nats: NatsServer, namespace: str, tmp_path: Path, subject: str
):
    (tmp_path / "state").mkdir()
    controller = ControllerProcess(fresh_nats.url, namespace, tmp_path / "state")
    await controller.start()
    try:
        for key, what in (("takes", subject), ("later", "a.b")):
            file = tmp_path / f"{key}.yaml"
            file.write_text(TAKES % what)
            # Sources go on: what is put while the first one takes everything is acted on.
            await told(fresh_nats.url, namespace, "apply", "--wait", str(file))
            for args in COMMANDS:
                await told(fresh_nats.url, namespace, *args)
        defects = [line for line in controller.log() if "defect" in str(line)]
        assert defects == []
    finally:
        await controller.kill()
        kill_leftovers(controller.state_dir)


async def told(url: str, namespace: str, *args: str) -> None:
    process = await asyncio.create_subprocess_exec(
        CONTROLLER.parent / "nexthos",
        *args,
        env={"PATH": os.environ["PATH"], "NATS_URL": url, "NEXTHOS_NAMESPACE": namespace},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, (args, said.decode())
