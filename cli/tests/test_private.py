"""The CLI reads of a status what docs/contract.md describes: its memory is the controller's own."""

from __future__ import annotations

import ast
from pathlib import Path

import nexthos_cli

SOURCE = Path(nexthos_cli.__file__).parent
PRIVATE = {"memory", "last_good", "slots"}


def reads(text: str) -> set[str]:
    """Attributes that are the memory, or stand in it alone."""
    return {n.attr for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute)} & PRIVATE


def test_no_module_reads_the_memory_of_a_status() -> None:
    found = {
        str(file.relative_to(SOURCE)): attributes
        for file in SOURCE.rglob("*.py")
        if (attributes := reads(file.read_text()))
    }
    assert found == {}


def test_a_module_that_did_would_be_found() -> None:
    assert reads("def f(status):\n    return status.memory.last_good\n") == {"memory", "last_good"}
