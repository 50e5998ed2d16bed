"""The rooms of the house: an import that goes up, planted in each distribution, is found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("shared/src", "services/controller/src", "services/runner-image/src", "cli/src")
WRONG = {
    "shared/src/nexthos_shared/names.py": (
        "import nexthos_shared.store.bucket",
        "What all share: the store on NATS, engines and models, names and reasons",
    ),
    "shared/src/nexthos_shared/plan/change.py": (
        "import nexthos_shared.store.bucket",
        "Manifests and plans are pure: no store, no engine, no process, no terminal",
    ),
    "shared/src/nexthos_shared/manifest/documents.py": (
        "import pathlib",
        "Manifests and plans are pure: no store, no engine, no process, no terminal",
    ),
    "services/controller/src/nexthos_controller/reconcile/steps.py": (
        "import nexthos_controller.executors.process.executor",
        "Deciding is pure: values only, no I/O, no store, no loop",
    ),
    "services/controller/src/nexthos_controller/executors/shared/ports.py": (
        "import nexthos_controller.loop.workqueue",
        "The controller's rooms: from the process down to values",
    ),
    "services/runner-image/src/nexthos_runner/files.py": (
        "import nexthos_shared.model",
        "The runner starts fast: neither pydantic nor the controller",
    ),
    "cli/src/nexthos_cli/output/lines.py": (
        "import nexthos_cli.commands.ls",
        "The CLI's rooms: from verbs down to what is printed",
    ),
    "cli/src/nexthos_cli/dev/tally.py": (
        "import nexthos_controller.loop.reconciler",
        "The CLI sees one module of the controller: nexthos_controller.embedded",
    ),
}


@pytest.mark.parametrize("file", WRONG)
def test_a_wrong_import_is_found_in_each_distribution(file: str, tmp_path: Path) -> None:
    for source in SOURCES:
        shutil.copytree(
            ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__")
        )
    planted, contract = WRONG[file]
    with (tmp_path / file).open("a") as opened:
        opened.write(f"\n\n{planted}\n")
    found = subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--no-cache",
            "--config",
            ROOT / "pyproject.toml",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(tmp_path / s) for s in SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stdout + found.stderr
    assert f"{contract} BROKEN" in " ".join(found.stdout.split())


def test_errors_of_no_kind_are_never_raised() -> None:
    bare = re.compile(r"raise (NexthosError|TemporaryError|TerminalError)\(")
    files = (file for source in SOURCES for file in (ROOT / source).rglob("*.py"))
    assert [str(f) for f in files if bare.search(f.read_text())] == []


def test_a_comment_or_page_names_no_file_that_is_not_there() -> None:
    """Of Markdown files: what is measured stands in docs/, where everybody can read it."""
    names = {path.name for path in ROOT.rglob("*.md") if ".venv" not in path.parts}
    told = re.compile(r"\b([a-z][a-z-]+)\.md\b|\b[a-z]+-facts\b")
    files = [file for source in SOURCES for file in (ROOT / source).rglob("*.py")]
    files += [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *(ROOT / "engine").glob("*.go")]
    missing = {
        (found[0], str(file.relative_to(ROOT)))
        for file in files
        for found in told.finditer(file.read_text())
        if found[0] not in names
    }
    assert missing == set()
