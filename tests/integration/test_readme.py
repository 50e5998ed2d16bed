"""The README's example is typed as it is written there, and every command of it works."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from nexthos_testing.controller import CONTROLLER, ControllerProcess

README = Path(__file__).parents[2] / "README.md"


def section(title: str) -> list[str]:
    """The fenced blocks of one section."""
    _, _, text = README.read_text().partition(f"\n## {title}\n")
    return re.findall(r"^```\w*\n(.*?)^```$", text.partition("\n## ")[0], re.M | re.S)


async def typed(line: str, folder: Path, controller: ControllerProcess) -> str:
    """What a shell prints for a line of the README; the line must succeed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "NEXTHOS_"))}
    more = {
        "NATS_URL": controller.url,
        "NEXTHOS_NAMESPACE": controller.namespace,
        "PATH": f"{CONTROLLER.parent}:{os.environ['PATH']}",
    }
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-ec", line),
        cwd=folder,
        env=kept | more,
        stdout=-1,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await shell.communicate()
    assert shell.returncode == 0, f"{line}\n{out.decode()}"
    return out.decode()


async def test_every_command_of_the_example_works_as_it_is_written(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    manifest, resources, commands = section("With the `nexthos` CLI")
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "orders.yaml").write_text(manifest)
    (folder / "nats.yaml").write_text(resources)

    lines = commands.splitlines()
    told = {line: await typed(line, folder, controller) for line in lines}

    assert len(told) > 10
    assert "created stream ORDERS" in told[lines[0]]
    waited = [line for line in lines if "--wait" in line]
    assert len(waited) > 4
    assert [line for line in waited if "pipeline/orders ready after" not in told[line]] == []
