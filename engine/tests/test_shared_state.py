"""What the engine keeps once for its process: each variable of it is judged for streams that share one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTING = ROOT / "scripts" / "shared_state.go"
JUDGED = ROOT / "scripts" / "shared_state.judged"


def judged() -> dict[str, str]:
    """The heading under which each name stands."""
    found: dict[str, str] = {}
    heading = ""
    for line in JUDGED.read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line and not line.startswith("#"):
            assert line not in found, f"{line} is judged twice"
            found[line] = heading
    return found


def test_every_judgement_says_why() -> None:
    for heading in set(judged().values()):
        assert re.fullmatch(r"(shared|harmless): \S.*", heading)


def test_what_is_shared_has_a_row_in_the_documentation() -> None:
    table = (
        (ROOT / "docs" / "executors.md").read_text().partition("### What a shared engine shares")[2]
    )
    for heading in {h for h in judged().values() if h.startswith("shared: ")}:
        assert f"| {heading.removeprefix('shared: ')} |" in table


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go on PATH: `go -C engine` lists it")
def test_what_the_engine_keeps_once_for_its_process_is_judged() -> None:
    go = shutil.which("go")
    assert go is not None
    done = subprocess.run(
        [go, "run", str(LISTING)], cwd=ROOT / "engine", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed = set(done.stdout.split())
    assert len(listed) > 100
    assert not listed - judged().keys(), "judge them in scripts/shared_state.judged"
    assert not judged().keys() - listed, "they are no more: take them out"
