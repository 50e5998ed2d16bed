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
    "Streams in a shared engine, containers and NEX workloads are executions in this sense: `uid` is the "
    "host and the count of its lives, the container and its start, the workload's id; `prepare` is a "
    "folder, create and pull, an auction.",
    # NEX alone answers so: how it is decided is in test_reconcile_workloads.py
    '"asked" says that no confirmation is to be had: it is `stopping` until its place answers without it.',
    "One whose end was asked for and is not confirmed is `stopping`: nothing is started in its place.",
    "Two kinds ReplicaExecutor we do the replicas: prepare, start, stop, remove (process, streams, docker, "
    "NEX) WorkloadExecutor its platform does them: apply, delete (Kubernetes); its executions are read "
    "only",
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
