"""What the page on operations installs: wheels out of `make wheels`, in a venv that has nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"


@pytest.mark.timeout(600)
def test_the_wheels_bring_each_command_that_the_page_on_operations_calls(tmp_path: Path) -> None:
    page = PAGE.read_text()
    assert "make wheels" in page
    subprocess.run(["make", "wheels"], cwd=ROOT, check=True, capture_output=True)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, *sorted(map(str, (ROOT / "dist").glob("*.whl")))], capture_output=True, text=True
    )
    unreached = ("Could not find a version", "Max retries", "connection")
    if done.returncode and any(words in done.stderr for words in unreached):
        pytest.skip("no package index answers, and the wheels need packages from one")
    assert done.returncode == 0, done.stderr
    called = set(re.findall(r"/opt/nexthos/bin/([\w-]+)", page)) - {"pip"}
    assert "nexthos" in called
    for command in (*called, "nexthos-controller"):
        said = subprocess.run([venv / "bin" / command, "--version"], capture_output=True, text=True)
        assert said.returncode == 0, f"{command}: {said.stderr}"
    assert (venv / "bin" / "nexthos-engine").exists()
