"""The fields of a manifest: which there are, and every mistake in them with its place.

Comes in: a mapping with the places of its parts. Goes out: problems in the words of the user's own
document. Must not know files, stores or engines.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from nexthos_shared.manifest.documents import Document, Path
from nexthos_shared.model import Pipeline, Wanted
from nexthos_shared.reasons import Problem, Reason

_HINTS = {
    "string_type": "must be text: write it in quotes",
    "missing": "is missing",
}


class ManifestFields(Pipeline):
    """A manifest: the fields of a pipeline, and its configuration beside them."""

    model_config = ConfigDict(json_schema_extra={"title": "Manifest"})

    schema_: Literal[1] = Field(alias="schema", description="marks a document as a manifest")
    status: Wanted | None = Field(  # type: ignore[assignment]  # a manifest may leave it out
        None, strict=False, description="omitted: what is stored stays; a new one is published"
    )
    config: str | None = Field(None, description="the engine configuration, verbatim: `config: |`")
    config_file: str | None = Field(
        None, description="a file with the engine configuration, relative to the manifest"
    )


NAMES = sorted(info.alias or name for name, info in ManifestFields.model_fields.items())


def mistakes(value: Mapping[str, Any], document: Document, file: str) -> list[Problem]:
    """Everything that is wrong with a manifest's fields, in the order in which it is written."""
    try:
        ManifestFields.model_validate_json(json.dumps(value))
    except ValidationError as error:
        found = list(_problems(error, document, file))
        return sorted(found, key=lambda p: (p.line or 0, p.column or 0))
    return []


def misfit(error: ValidationError, document: Document, file: str) -> list[Problem]:
    """The same for an error of the finished definition."""
    return list(_problems(error, document, file))


def at(
    document: Document,
    path: Path,
    file: str,
    message: str,
    *,
    reason: Reason = Reason.INVALID_DEFINITION,
    key: bool = False,
) -> Problem:
    """A problem with a field, at its place."""
    mark = document.mark(path, key=key)
    field = ".".join(str(part) for part in path) or None
    return Problem(
        reason,
        f"{field}: {message}" if field else message,
        field=field,
        file=file,
        line=mark.line if mark else None,
        column=mark.column if mark else None,
    )


def _problems(error: ValidationError, document: Document, file: str) -> Iterator[Problem]:
    for found in error.errors(include_url=False, include_input=False):
        path: Path = tuple(part for part in found["loc"] if part != "[key]")
        message = _HINTS.get(found["type"], found["msg"].removeprefix("Value error, "))
        unknown = found["type"] == "extra_forbidden"
        if unknown:
            message = _unknown(str(path[-1]), len(path))
        if not path:  # our own validators name the field at the beginning
            head, _, rest = message.partition(": ")
            if head.split(".")[0] in NAMES:
                path, message = tuple(head.split(".")), rest
        is_status = path == ("status",)
        reason = Reason.UNKNOWN_STATUS if is_status else Reason.INVALID_DEFINITION
        yield at(
            document, path, file, message, reason=reason, key=unknown or "[key]" in found["loc"]
        )


def _unknown(name: str, depth: int) -> str:
    close = difflib.get_close_matches(name, NAMES, n=1) if depth == 1 else []
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"is not a field of a manifest (unknown fields are refused){hint}"
