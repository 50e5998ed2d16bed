"""Manifests and plain Benthos files: what `apply`, `lint` and `dev` are given.

Comes in: `Source`s and the variables of `-e`. Goes out: `Loaded`: manifests, what was skipped and why,
and every problem with file, line and column. Must not know the store: nothing here depends on what is
stored, so all of it can be told before anything is connected.

A document with `schema` is a manifest. A file with `input`, `output`, `pipeline` or `buffer` at its top
and no `schema` is a plain Benthos configuration: a manifest with nothing but its configuration. Plain
files are not parsed here if their keys can be told without: `${VARIABLE}` may stand where YAML would
not have it, and the engine's own lint is the judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nexthos_cli.manifest.sources import Source
from nexthos_shared import names
from nexthos_shared.engine import MAX_CONFIG_BYTES
from nexthos_shared.errors import InvalidName
from nexthos_shared.manifest.documents import Document, Mark, Unreadable, read_documents
from nexthos_shared.manifest.fields import at, mistakes
from nexthos_shared.manifest.manifest import Manifest
from nexthos_shared.reasons import Problem, Reason

ONLY_RESOURCES = (
    "only resources: no input, no output; the resources of other files are not loaded, so each "
    "configuration needs them in its own file"
)
PLAIN_KEYS = {"input", "output", "pipeline", "buffer"}
_TEST_FILE = re.compile(r"_(benthos|bento)_test$")
_TOP_KEY = re.compile(r"""^["']?([A-Za-z_]\w*)["']?[ \t]*:(?:\s|$)""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or a document of it, that is no pipeline."""

    file: str
    reason: str


@dataclass(slots=True)
class Loaded:
    """What was found, in the order in which it was given."""

    manifests: list[Manifest] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load(sources: Iterable[Source], env: Mapping[str, str] | None = None) -> Loaded:
    """Read all of them. `env` is merged over each manifest's."""
    loading = _Loading(dict(env or {}))
    for source in sources:
        loading.source(source)
    return loading.finished()


class _Loading:
    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._loaded = Loaded()
        self._claimed: dict[Path, Manifest] = {}  # configuration files that manifests name
        self._paths: dict[str, Path] = {}  # plain files, by shown name

    def source(self, source: Source) -> None:
        """Sort out one file."""
        text = self._text(source.content, source.name)
        if text is None:
            return
        if source.stem and _TEST_FILE.search(source.stem):
            self._skip(source, "unit tests of a configuration")
            return
        keys = set(_TOP_KEY.findall(text))
        looks_plain = bool(keys & PLAIN_KEYS) and "schema" not in keys
        if looks_plain and "\n---" not in text:
            self._plain(source)
            return
        if keys and not looks_plain and all(k.endswith("_resources") for k in keys):
            self._skip(source, ONLY_RESOURCES)
            return
        try:
            documents = [d for d in read_documents(text) if d.value is not None]
        except Unreadable as error:
            if looks_plain:
                self._plain(source)  # a ${VARIABLE} may be what YAML stumbles over: lint decides
            else:
                self._unreadable(source, error)
            return
        self._documents(source, text, documents)

    def _documents(self, source: Source, text: str, documents: Sequence[Document]) -> None:
        alone = len(documents) == 1
        if not documents:
            self._skip(source, "empty")
        for document in documents:
            keys = set(document.value) if isinstance(document.value, dict) else set()
            if "schema" in keys:
                self._manifest(source, text, document, alone=alone)
            elif keys & PLAIN_KEYS and alone:
                self._plain(source)
            elif keys & PLAIN_KEYS:
                words = (
                    "a Benthos configuration must be alone in its file, or a manifest's `config: |`"
                )
                self._loaded.problems.append(at(document, (), source.name, words))
            else:
                self._skip(source, _why_neither(keys))

    def _plain(self, source: Source) -> None:
        content = source.content
        pipeline_id = self._id_of(source, Document())
        if pipeline_id is None or not self._acceptable(content, source.name):
            return
        if source.path is not None:
            self._paths[source.name] = source.path.resolve()
        value: dict[str, Any] = {"schema": 1, "id": pipeline_id} | _pinned(content)
        if self._env:
            value["env"] = dict(self._env)
        if bad := mistakes(value, Document(), source.name):
            self._loaded.problems += bad  # of `-e`: nothing else of it is written by anybody
        else:
            manifest = Manifest(pipeline_id, source.name, value, content, source.name)
            self._loaded.manifests.append(manifest)

    def _manifest(self, source: Source, text: str, document: Document, *, alone: bool) -> None:
        value = dict(document.value)
        before = len(self._loaded.problems)
        content, shown, path = self._content(source, document, value)
        written = value.pop("id", None)
        pipeline_id = self._id_of(source, document, written, alone=alone)
        if self._env and isinstance(value.get("env", {}), dict):
            value["env"] = {**(value.get("env") or {}), **self._env}
        if content is not None:
            self._pin(value, content, document, source.name)
        bad = mistakes(value, document, source.name)
        self._loaded.problems += bad
        if pipeline_id is None or len(self._loaded.problems) > before:
            return
        value["id"] = pipeline_id
        here = content is not None and path is None
        block = _block(text, document) if here else None
        inline = document.mark(("config",)) if here and block is None else None
        manifest = Manifest(
            pipeline_id, source.name, value, content, shown, document, block, inline
        )
        if path is not None:
            self._claimed[path.resolve()] = manifest
        self._loaded.manifests.append(manifest)

    def _content(
        self, source: Source, document: Document, value: dict[str, Any]
    ) -> tuple[bytes | None, str, Path | None]:
        """The configuration, the name of the file it stands in, and that file if it is another."""
        config, named = value.pop("config", None), value.pop("config_file", None)
        if config is not None and named is not None:
            self._at(
                document, "config_file", source, "stands beside `config`: one of them is enough"
            )
        elif config is not None and not isinstance(config, str):
            self._at(document, "config", source, "must be text: write `config: |` and indent it")
        elif config is not None:
            content = config.encode()
            return (content if self._acceptable(content, source.name) else None), source.name, None
        elif named is not None and (not isinstance(named, str) or not named):
            self._at(document, "config_file", source, "must be the name of a file")
        elif named is not None:
            return self._from_file(source, document, named)
        return None, source.name, None

    def _from_file(
        self, source: Source, document: Document, named: str
    ) -> tuple[bytes | None, str, Path | None]:
        path = source.folder / named
        try:
            with path.open("rb") as file:
                content = file.read(MAX_CONFIG_BYTES + 1)
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else str(error)
            self._at(document, "config_file", source, f"{path}: {words}", Reason.CONFIG_MISSING)
            return None, str(path), None
        if self._text(content, str(path)) is None or not self._acceptable(content, str(path)):
            return None, str(path), None
        return content, str(path), path

    def _pin(self, value: dict[str, Any], content: bytes, document: Document, file: str) -> None:
        pinned = _pinned(content)
        if value.get("version") is None:
            value["version"] = pinned["version"]
        if value.get("digest") not in (None, pinned["digest"]):
            words = f"is not that of the configuration, which is {pinned['digest']}"
            self._loaded.problems.append(
                at(document, ("digest",), file, words, reason=Reason.DIGEST_MISMATCH)
            )
        value["digest"] = pinned["digest"]

    def _id_of(
        self, source: Source, document: Document, written: Any = None, *, alone: bool = True
    ) -> str | None:
        if written is None and not (alone and source.stem):
            words = "id: is missing: it can't be taken from a file's name here"
            self._loaded.problems.append(at(document, (), source.name, words))
            return None
        if written is not None and not isinstance(written, str):
            self._loaded.problems.append(
                at(document, ("id",), source.name, "must be text: write it in quotes")
            )
            return None
        value = written if written is not None else re.sub(r"[_\s]", "-", str(source.stem)).lower()
        try:
            return names.check_id(value)
        except InvalidName as error:
            path = ("id",) if written is not None else ()
            hint = "" if path else "; rename the file, or write a manifest with `id:`"
            self._loaded.problems.append(
                at(document, path, source.name, f"{error}{hint}", reason=Reason.INVALID_NAME)
            )
            return None

    def _acceptable(self, content: bytes, file: str) -> bool:
        if len(content) <= MAX_CONFIG_BYTES:
            return True
        words = f"the configuration has more than {MAX_CONFIG_BYTES} bytes (1 MiB)"
        self._loaded.problems.append(Problem(Reason.CONFIG_TOO_LARGE, words, file=file))
        return False

    def _text(self, content: bytes, file: str) -> str | None:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            column = error.start - content.rfind(b"\n", 0, error.start)
            words = f"not UTF-8: {error.reason}"
            self._loaded.problems.append(
                Problem(Reason.CONFIG_NOT_TEXT, words, file=file, line=line, column=column)
            )
            return None

    def _unreadable(self, source: Source, error: Unreadable) -> None:
        kind = "JSON" if source.name.endswith(".json") else "YAML"
        line, column = (error.mark.line, error.mark.column) if error.mark else (None, None)
        words = f"not {kind} that can be read: {error}"
        self._loaded.problems.append(
            Problem(Reason.INVALID_DEFINITION, words, file=source.name, line=line, column=column)
        )

    def _at(
        self,
        document: Document,
        name: str,
        source: Source,
        words: str,
        reason: Reason = Reason.INVALID_DEFINITION,
    ) -> None:
        self._loaded.problems.append(at(document, (name,), source.name, words, reason=reason))

    def _skip(self, source: Source, reason: str) -> None:
        self._loaded.skipped.append(Skipped(source.name, reason))

    def finished(self) -> Loaded:
        """What was loaded, without plain files that belong to a manifest, doubles told."""
        kept: dict[str, Manifest] = {}
        for manifest in self._loaded.manifests:
            owner = self._claimed.get(self._paths.get(manifest.file, Path()))
            if owner is not None and owner is not manifest:
                words = f"the configuration of pipeline {owner.id} in {owner.file}"
                self._loaded.skipped.append(Skipped(manifest.file, words))
            elif manifest.id in kept:
                words = f"pipeline {manifest.id} is defined here and in {kept[manifest.id].file}"
                self._loaded.problems.append(
                    manifest.problem(Reason.INVALID_DEFINITION, words, "id")
                )
            else:
                kept[manifest.id] = manifest
        self._loaded.manifests = list(kept.values())
        return self._loaded


def _pinned(content: bytes) -> dict[str, str]:
    return {"version": names.version_of(content), "digest": names.digest_of(content)}


def _block(text: str, document: Document) -> Mark | None:
    """Where a `config: |` block begins: the line before it, and by how much it is indented."""
    mark = document.marks.get(("config",))
    if mark is None or ("config",) not in document.blocks:
        return None
    above = text.split("\n")[mark.line :]
    value = str(document.value["config"]).split("\n")
    for written, meant in zip(above, value, strict=False):
        if meant.strip():
            return Mark(mark.line, len(written) - len(meant))
    return Mark(mark.line, 0)


def _why_neither(keys: set[str]) -> str:
    if keys == {"tests"}:
        return "unit tests of a configuration"
    if keys and all(k.endswith("_resources") for k in keys):
        return ONLY_RESOURCES
    if keys & {"config", "config_file"} or {"status", "version"} <= keys:
        return "looks like a manifest, but has no `schema: 1`"
    return "neither a manifest (no `schema: 1`) nor a Benthos configuration (no input, output, pipeline)"
