"""Files, folders and stdin, as bytes with the name that a person knows them by.

Comes in: what was typed after `-f`. Goes out: `Source`s in a fixed order, and problems for what can't
be read. Must not know what stands in them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexthos_shared.errors import ConfigMissing
from nexthos_shared.object_format import MAX_CONFIG_BYTES
from nexthos_shared.reasons import Problem, Reason

STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json")
MAX_SOURCE_BYTES = 8 * 1024 * 1024  # several documents, each with a configuration of at most 1 MiB


@dataclass(frozen=True, slots=True)
class Source:
    """One file. `name` is shown in messages, `folder` is where its relative paths start."""

    name: str
    content: bytes
    folder: Path
    path: Path | None = None  # None: stdin

    @property
    def stem(self) -> str | None:
        """The file's name without its suffix."""
        return self.path.stem if self.path else None

    @property
    def key(self) -> str | None:
        """Where it really is."""
        return str(self.path.resolve()) if self.path else None

    def beside(self, named: str) -> Source:
        """The file that is called `named` in its folder. Raises ConfigMissing."""
        path = self.folder / named
        try:
            with path.open("rb") as file:
                content = file.read(MAX_CONFIG_BYTES + 1)
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigMissing(f"{path}: {words}") from error
        return Source(str(path), content, path.parent, path)


def read_sources(paths: Sequence[str]) -> tuple[list[Source], list[Problem]]:
    """Everything that `paths` name; a folder stands for the YAML and JSON files in and below it."""
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    for named in paths:
        for path in _files(named):
            key = path if path == STDIN else str(Path(path).resolve())
            if key in sources:
                continue
            try:
                sources[key] = _read(path)
            except OSError as error:
                words = f"{path}: {error.strerror or error}"
                problems.append(Problem(Reason.NOT_FOUND, words, file=path))
            except _TooLarge as error:
                problems.append(Problem(Reason.CONFIG_TOO_LARGE, str(error), file=path))
    return list(sources.values()), problems


class _TooLarge(Exception):
    pass


def _files(named: str) -> Iterator[str]:
    if named == STDIN or not os.path.isdir(named):
        yield named
        return
    for folder, folders, files in os.walk(named):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in sorted(files):
            if file.endswith(SUFFIXES) and not file.startswith("."):
                yield os.path.normpath(os.path.join(folder, file))


def _read(path: str) -> Source:
    if path == STDIN:
        content = sys.stdin.buffer.read(MAX_SOURCE_BYTES + 1)
        source = Source("stdin", content, Path.cwd())
    else:
        with open(path, "rb") as file:
            source = Source(path, file.read(MAX_SOURCE_BYTES + 1), Path(path).parent, Path(path))
    if len(source.content) > MAX_SOURCE_BYTES:
        raise _TooLarge(f"{source.name}: more than {MAX_SOURCE_BYTES} bytes: no pipeline")
    return source
