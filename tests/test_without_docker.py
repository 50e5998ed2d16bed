"""The tests themselves, on a machine with no Docker daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)  # a pytest within pytest imports everything again
ROOT = Path(__file__).parent.parent
NEEDY = """\
from nexthos_testing.docker import need_docker


def test_one_that_needs_docker_and_does_not_say_so():
    need_docker()
"""


def outcome_of(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run some of them where nobody answers at the Docker socket."""
    command = (sys.executable, "-m", "pytest", "-q", f"--basetemp={folder / 'base'}")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NEXTHOS_TEST", "PYTEST"))}
    env = {**kept, "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    return subprocess.run(
        [*command, *args], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_what_is_skipped_says_in_one_line_how_to_have_it_run(tmp_path: Path) -> None:
    done = outcome_of(tmp_path, "services/controller/tests/docker/test_images.py")
    assert done.returncode == 0, done.stdout
    [line] = [line for line in done.stdout.splitlines() if "skipped: " in line]
    assert line.startswith("5 skipped: no Docker daemon answers: start one (scripts/docker-daemon")
    assert "warning" not in done.stdout


def test_what_needs_docker_is_picked_by_its_mark_and_what_lacks_it_fails(tmp_path: Path) -> None:
    picked = outcome_of(
        tmp_path, "-m", "not docker", "services/controller/tests/docker/test_images.py"
    )
    assert "5 deselected" in picked.stdout
    (tmp_path / "test_needy.py").write_text(NEEDY)
    config = ("-c", str(ROOT / "pyproject.toml"), "-p", "nexthos_testing.fixtures")
    needy = outcome_of(tmp_path, *config, str(tmp_path / "test_needy.py"))
    assert needy.returncode == 1, needy.stdout
    assert "must ask for the fixture docker_daemon" in needy.stdout
