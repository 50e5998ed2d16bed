"""One pipeline as a manifest has it, and its place in the file that was given. It knows no store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nexthos_shared.manifest.documents import Document, Mark
from nexthos_shared.manifest.fields import at
from nexthos_shared.model import Pipeline, Wanted
from nexthos_shared.reasons import Problem, Reason


@dataclass(frozen=True, slots=True)
class Manifest:
    """One pipeline as a file has it. `fields` were checked; `status` is in them only if written."""

    id: str
    file: str
    fields: Mapping[str, Any]
    content: bytes | None  # None: the stored object of `version` is meant
    config_file: str  # where `content` stands, for messages
    document: Document = field(default_factory=Document)
    block: Mark | None = None  # line above a `config: |` block, and the block's indentation
    inline: Mark | None = None  # where a `config` begins whose lines are not the file's, as in JSON

    @property
    def wanted(self) -> Wanted | None:
        """The status that is written down, if one is."""
        return Wanted(self.fields["status"]) if self.fields.get("status") else None

    def pipeline(self, wanted: Wanted, restart_nonce: int) -> Pipeline:
        """The definition to store, with these where the file leaves them out."""
        kept = {"status": str(wanted), "restart_nonce": restart_nonce}
        value = kept | {k: v for k, v in self.fields.items() if v is not None}
        return Pipeline.model_validate(value, strict=False)

    def placed(self, problem: Problem) -> Problem:
        """A problem of the configuration, at its place in the file that was given."""
        if self.inline is not None:
            within = f" (line {problem.line} of the configuration)" if problem.line else ""
            return replace(
                problem,
                file=self.config_file,
                line=self.inline.line,
                column=self.inline.column,
                message=f"{problem.message}{within}",
            )
        if self.block is None or problem.line is None:
            return replace(problem, file=self.config_file)
        column = problem.column + self.block.column if problem.column else None
        return replace(
            problem, file=self.config_file, line=problem.line + self.block.line, column=column
        )

    def problem(self, reason: Reason, message: str, *path: str) -> Problem:
        """A problem of this pipeline, at one of its fields."""
        return at(self.document, path, self.file, message, reason=reason)
