"""A folder of plain Benthos files, as the engines' documentation has them, under `nexthos dev`, unedited."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nexthos_shared.manifest.documents import ONLY_RESOURCES
from nexthos_testing.dev import NEXTHOS, environment
from nexthos_testing.process_rig import pids_below

FILES = Path(__file__).parent / "documentation"

RUN = {  # pipeline: its phase at the end, or one word of why not
    "cache-resources": "Running",
    "default": "Running",
    "files": "Completed",
    "generate": "Running",
    "http-section": "Running",
    "http-server": "Running",
    "nats": "Running",
    "stdin": "Completed",
}
REFUSED = {
    "aws_s3.yaml": r"7:1: the engine has no output named 'aws_s3' (ComponentMissing)",
    "kafka.yaml": r"2:1: the engine has no input named 'kafka' (ComponentMissing)",
    "statsd.yaml": r"10:1: the engine has no metrics named 'statsd' (ComponentMissing)",
    "variable.yaml": "9:14: ${TARGET_SUBJECT} is used and not set: put TARGET_SUBJECT into `env`, or "
    "write a default: ${TARGET_SUBJECT:value} (VariableMissing)",
}
SKIPPED = {
    "default_benthos_test.yaml": "unit tests of a configuration",
    "resources.yaml": ONLY_RESOURCES,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("documentation")
    shutil.copytree(FILES, made, dirs_exist_ok=True)
    return made


@pytest.fixture(scope="module")
def printed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one run of five seconds prints."""
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [NEXTHOS, "dev", folder, "--port", "0", "--for", "5s"],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    )
    assert done.returncode == 1, done.stdout  # some of the files are refused
    assert pids_below(home) == {}
    return done.stdout


def test_each_file_is_accounted_for() -> None:
    names = {file.name for file in FILES.glob("*.yaml")}
    run = {f"{name.replace('-', '_')}.yaml" for name in RUN}
    assert run | set(REFUSED) | set(SKIPPED) == names


@pytest.mark.parametrize("pipeline", RUN)
def test_it_runs_with_no_edit(printed: str, pipeline: str) -> None:
    table = printed[printed.rindex("PIPELINE ") :]
    rows = {line.split()[0]: line.split()[1] for line in table.splitlines() if line.strip()}
    assert rows[pipeline] == RUN[pipeline], printed


@pytest.mark.parametrize("file", REFUSED)
def test_or_it_is_refused_with_its_line_and_a_named_reason(
    printed: str, folder: Path, file: str
) -> None:
    assert f"error: {folder / file}:{REFUSED[file]}\n" in printed


@pytest.mark.parametrize("file", SKIPPED)
def test_or_it_is_skipped_with_the_reason(printed: str, folder: Path, file: str) -> None:
    assert f"skipped {folder / file}: {SKIPPED[file]}\n" in printed


def test_its_output_is_shown_and_files_beside_it_are_found(printed: str, folder: Path) -> None:
    assert "generate             hello world\n" in printed
    lines = (folder / "data/output.txt").read_text().splitlines()
    assert sorted(lines) == ["ONE", "THREE", "TWO"]  # an engine keeps no order among its threads
