"""Variables under `nexthos dev`: `-e`, `--env-file` and the folder's `.env`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_testing.dev import Dev

SAYS = """\
schema: 1
config: |
  input: {generate: {interval: 1s, mapping: 'root = "x"'}}
  pipeline: {processors: [{log: {message: "mark ${MARK} ${OTHER:none} ${THIRD:none}"}}]}
  output: {drop: {}}
"""


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    one = Dev(tmp_path / "home", tmp_path / "pipelines")
    one.write("orders.yaml", SAYS)
    yield one
    await one.clean()


async def test_a_flag_wins_over_a_named_file_and_that_over_the_folders_own(
    dev: Dev, tmp_path: Path
) -> None:
    dev.write(".env", "MARK=own\nOTHER=own\nTHIRD=own\n")
    named = tmp_path / "named.env"
    named.write_text("MARK=named\nOTHER=named\n")
    await dev.start("--env-file", str(named), "-e", "MARK=flag")
    await dev.says("mark flag named own")
    dev.signal()
    assert await dev.ends() == 0


async def test_an_edit_of_the_folders_own_file_is_taken(dev: Dev) -> None:
    dev.write(".env", "MARK=v1\n")
    await dev.start()
    await dev.says("mark v1")
    dev.write(".env", "MARK=v2\n")
    await dev.says("mark v2")
    dev.signal()
    assert await dev.ends() == 0


async def test_a_wrong_line_is_named_without_what_stands_in_it(dev: Dev) -> None:
    dev.write(".env", "MARK=v1\nhunter2 secret\n")
    await dev.start()
    await dev.says(r"error: .*\.env:2")
    assert "hunter2" not in dev.output
    assert "Running" not in dev.output
    dev.write(".env", "MARK=v3\n")
    await dev.says("mark v3")
    dev.signal()
    assert await dev.ends() == 0
