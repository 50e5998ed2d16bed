"""Each sentence of the contract and its vocabulary is quoted by a test, in lines that begin with `>`."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from nexthos_controller import execution
from nexthos_controller.executors import contract

SPOKEN_ELSEWHERE = {
    "Rules for all methods",  # a heading
    "The contract.",  # a heading
    # what the words mean on other platforms: their own suites prove it
    "Streams in a shared engine, containers, Kubernetes objects and NEX workloads are executions in "
    "this sense: `uid` is the host and the count of its lives, the container and its start, object uid, "
    "workload id; `prepare` is a folder, create + pull, nothing, auction; `self_managed` says that the "
    "platform does replicas and restarts itself.",
}


def test_every_sentence_of_the_contract_is_quoted_by_a_test():
    quoted = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for text in _docstrings(ast.parse(file.read_text())):
            quoted |= {_plain(part) for part in re.split(r"^\s*> |^> ", text, flags=re.M)[1:]}
    said = set(_sentences()) - SPOKEN_ELSEWHERE
    assert said - quoted == set(), "sentences without a test"
    assert quoted - said == set(), "quotations of what the contract does not say"


def _sentences() -> Iterator[str]:
    vocabulary = list(_docstrings(ast.parse(inspect.getsource(execution))))[
        1:
    ]  # not the module's own
    for text in (*_docstrings(ast.parse(inspect.getsource(contract))), *vocabulary):
        if text.startswith("The executor contract"):
            text = text[text.index("Rules for all methods") :]
        for item in re.split(r"\n\s*-\s+", text):
            yield from (s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z\"(`])", _plain(item)) if s)


def _docstrings(tree: ast.Module) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield text


def _plain(text: str) -> str:
    return " ".join(text.split())
