"""Which member of the Benthos family a binary is, and how that one is called.

Comes in: a path. Goes out: an `EngineProfile` with the argv shapes. Must not know what the engine is
going to run. One dataclass, no class tree: the distributions differ in a few words of their argv.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nexthos_shared import system_errors
from nexthos_shared.errors import EngineMissing, StartFailed

if TYPE_CHECKING:
    from nexthos_shared.engine.child import Finished

Distribution = Literal["benthos", "bento", "redpanda-connect"]

ENGINE_NAME = "nexthos-engine"
ANSWER_TIMEOUT = 10.0  # seconds for --help or --version; measured 30 ms


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """How a distribution is called. Flags stand before the file, the file is one argument."""

    distribution: Distribution

    @property
    def has_prometheus(self) -> bool:
        """Whether metrics can be read as Prometheus text (the benthos core has no such component)."""
        return self.distribution != "benthos"

    def run_command(self, binary: Path, config: Path, overrides: Sequence[str] = ()) -> list[str]:
        """Argv that runs `config`; `overrides` are `path=value` as `overlay` makes them."""
        flags = [part for override in overrides for part in ("-s", override)]
        if self.distribution == "redpanda-connect":
            return [str(binary), "run", "--disable-telemetry", *flags, str(config)]
        return [str(binary), *flags, "-c", str(config)]

    def lint_command(self, binary: Path, config: Path) -> list[str]:
        """Argv that checks `config`, variables included: it must get the run's environment."""
        return [str(binary), "lint", str(config)]


def locate_engine(environ: Mapping[str, str] = os.environ) -> Path:
    """The default engine: NEXTHOS_ENGINE, else the wheel's beside this Python, else on PATH.

    Raises EngineMissing with what to do.
    """
    if named := environ.get("NEXTHOS_ENGINE"):
        found = shutil.which(named, path=environ.get("PATH", ""))
        if found is None:
            raise EngineMissing(
                f"NEXTHOS_ENGINE={named}: no such executable file; correct it or unset it"
            )
        return Path(found).absolute()
    beside = Path(sys.executable).parent / ENGINE_NAME
    if os.access(beside, os.X_OK):
        return beside
    if found := shutil.which(ENGINE_NAME, path=environ.get("PATH", "")):
        return Path(found).absolute()
    raise EngineMissing(
        f"no {ENGINE_NAME} beside {sys.executable} or on PATH: run `make setup`, install the "
        f"{ENGINE_NAME} package, or point NEXTHOS_ENGINE at a bento, benthos or redpanda-connect binary"
    )


def unusable(binary: Path) -> str:
    """Why `binary` can't be run by anybody here, as far as its file shows; empty if nothing is against it."""
    if binary.is_dir():
        return "a folder, and no program"
    if not binary.is_file():
        return "no such executable file"
    return "" if os.access(binary, os.X_OK) else "no such executable file (chmod +x makes it one)"


def not_started(binary: Path, error: OSError) -> EngineMissing | StartFailed:
    """What to raise where `binary` could not be started: it is no program, or something ran out."""
    if system_errors.passes(error):
        return StartFailed(f"{binary}: {system_errors.words_of(error)}")
    return EngineMissing(f"{binary}: {unusable(binary) or _why_not(error)}")


def _why_not(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "no program for this machine: made for another architecture, or damaged"
    if (
        error.errno == errno.ENOENT
    ):  # it is there: a musl binary on glibc, a script without its shell
        return "the loader or interpreter that it names is not on this machine"
    return system_errors.words_of(error)


_profiles: dict[tuple[str, int, int], EngineProfile] = {}


async def profile_of(binary: Path) -> EngineProfile:
    """Which distribution `binary` is, by what it says of itself, else by its name.

    Cached by path, modification time and size. Raises EngineMissing if it is no engine, StartFailed if it
    can't be asked now.
    """
    try:
        stat = binary.stat()
    except OSError as error:
        raise not_started(binary, error) from error
    key = (str(binary), stat.st_mtime_ns, stat.st_size)
    if key not in _profiles:
        said = await _ask(binary, "--help")
        _profiles[key] = EngineProfile(distribution_of(binary, said.stdout + said.stderr))
    return _profiles[key]


async def engine_version(binary: Path) -> str:
    """Return the version that the engine states, e.g. `v1.20.0`. Raises EngineMissing, StartFailed."""
    said = await _ask(binary, "--version")
    for line in said.stdout.splitlines():
        if line.startswith("Version:"):
            return line.removeprefix("Version:").strip()
    raise EngineMissing(f"{binary}: states no version, so it is no engine")


async def _ask(binary: Path, flag: str) -> Finished:
    # Imported here: the runner asks seldom, and asyncio takes as long as all else that it does.
    from nexthos_shared.engine.child import run_child

    try:
        return await run_child([str(binary), flag], env={"PATH": ""}, timeout=ANSWER_TIMEOUT)
    except TimeoutError as error:
        raise EngineMissing(f"{binary} {flag}: no answer in {ANSWER_TIMEOUT:g} s") from error
    except OSError as error:
        raise not_started(binary, error) from error


_PRODUCTS: tuple[tuple[str, Distribution], ...] = (
    # as the help says it: "Run Bento in streams mode"
    ("Redpanda Connect", "redpanda-connect"),
    ("Bento", "bento"),
    ("Benthos", "benthos"),
)
_FILE_NAMES: tuple[tuple[str, Distribution], ...] = (
    ("redpanda-connect", "redpanda-connect"),
    ("bento", "bento"),
    ("benthos", "benthos"),
)


def distribution_of(binary: Path, help_text: str) -> Distribution:
    """Which one `binary` is, by what its --help says, else by its name. Raises EngineMissing."""
    for product, distribution in _PRODUCTS:
        if f"Run {product} in " in help_text or f"run {product} as " in help_text:
            return distribution
    if "streams" in help_text and "lint" in help_text:  # an engine under a product name of its own
        for name, distribution in _FILE_NAMES:
            if name in binary.name:
                return distribution
    raise EngineMissing(
        f"{binary} is no engine that is known here (bento, benthos, redpanda-connect): "
        "its --help names none of them"
    )
