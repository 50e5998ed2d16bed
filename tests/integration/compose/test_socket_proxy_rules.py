"""The socket proxy's own tests, which are in Go and need no Docker."""

from __future__ import annotations

import json
import re

import pytest

from nexthos_controller.execution import Owner
from nexthos_controller.executors.docker.labels import MADE, Labels
from nexthos_testing.golang import ROOT, go
from nexthos_testing.socket_proxy import SOURCES

pytestmark = pytest.mark.timeout(300)  # the first time Go compiles its standard library


def test_go_is_content_with_every_rule() -> None:
    vetted = go("vet", ".", folder=SOURCES)
    assert vetted.returncode == 0, vetted.stderr
    tested = go("test", "-json", ".", folder=SOURCES)
    lines = [json.loads(line) for line in tested.stdout.splitlines() if line.startswith("{")]
    ended = {
        e["Test"]: e["Action"] for e in lines if "Test" in e and e["Action"] in ("pass", "fail")
    }
    assert tested.returncode == 0, "".join(e.get("Output", "") for e in lines) + tested.stderr
    assert len(ended) >= 15
    assert set(ended.values()) == {"pass"}


def test_the_proxy_is_built_with_the_go_of_the_engine() -> None:
    [of_the_proxy], [of_the_engine] = (
        re.findall(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
        for folder in (SOURCES, ROOT / "engine")
    )
    assert of_the_proxy == of_the_engine
    assert "require" not in (SOURCES / "go.mod").read_text()  # the standard library alone


def test_the_labels_of_an_execution_are_those_that_the_proxy_asks_for() -> None:
    made = Labels(Owner("ns", "one"), "a", 0, 1, "1", "sha256:0", "0", 1.0, {})
    source = (SOURCES / "create.go").read_text() + (SOURCES / "policy.go").read_text()
    assert all(f'"{name}"' in source for name in (*made.to_docker(), MADE))
