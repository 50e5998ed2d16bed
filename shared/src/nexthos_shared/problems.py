"""What pydantic found wrong with a document, in the words of who wrote it: its URLs and inputs are left out.

Comes in: a ValidationError. Goes out: `Mistake`s. It loads no pydantic: whoever has such an error has it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

UNKNOWN = "extra_forbidden"  # pydantic's name of a field that is not known


@dataclass(frozen=True, slots=True)
class Mistake:
    """One of them. `path` is where it stands, () for the whole; `kind` is pydantic's name of it."""

    path: tuple[str | int, ...]
    words: str
    kind: str
    of_key: bool = False  # the key is wrong, not its value

    @property
    def field(self) -> str:
        """`path` in one word, `a.0.b`; "" for the whole."""
        return ".".join(str(part) for part in self.path)

    @property
    def sentence(self) -> str:
        """`field: words`."""
        return f"{self.field}: {self.words}" if self.path else self.words


def mistakes(
    error: ValidationError, *, of: str = "it", fields: Collection[str] = ()
) -> list[Mistake]:
    """All of them. `of`: what has fields, "a pipeline". `fields`: those that our validators may name.

    A validator of a whole model names the field at the beginning of its words: pydantic does not know it.
    """
    found: list[Mistake] = []
    for one in error.errors(include_url=False, include_input=False):
        path = tuple(part for part in one["loc"] if part != "[key]")
        words = one["msg"].removeprefix("Value error, ")
        if one["type"] == UNKNOWN:
            words = f"is not a field of {of} (unknown fields are refused)"
        head, colon, rest = words.partition(":")
        if not path and colon and head.split(".")[0] in fields:
            path, words = tuple(head.split(".")), rest.strip()
        found.append(Mistake(path, words, one["type"], "[key]" in one["loc"]))
    return found


def first_mistake(
    error: ValidationError, *, of: str = "it", fields: Collection[str] = ()
) -> Mistake:
    """The first of them, for those who tell one."""
    return mistakes(error, of=of, fields=fields)[0]
