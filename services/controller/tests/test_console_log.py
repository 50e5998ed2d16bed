"""The controller's own log, for people and for programs."""

from __future__ import annotations

import json

import pytest
import structlog

from nexthos_controller.runtime.logs import configure_logs
from nexthos_shared.printable import printable
from nexthos_testing.tty import FORGED, HOSTILE


@pytest.fixture
def kept():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def says(words):
    log = structlog.get_logger("test")
    log.warning(words, pipeline=words, detail={"text": words}, count=3)
    try:
        raise ValueError(words)
    except ValueError:
        log.exception("failed", error=words)


@pytest.mark.fault(115)
@pytest.mark.usefixtures("kept")
def test_on_a_terminal_nothing_is_obeyed_and_no_line_is_forged(capsys):
    configure_logs("console", "info")
    says(HOSTILE)
    shown = capsys.readouterr().err.splitlines()
    assert [line for line in shown if printable(line) != line] == []
    assert not any(line.startswith(FORGED) for line in shown)
    assert "count=3" in shown[0]
    assert shown[2].startswith("  Traceback")


@pytest.mark.usefixtures("kept")
def test_for_programs_each_line_is_json_in_ascii(capsys):
    configure_logs("json", "info")
    says(HOSTILE)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert all(line.isascii() and line.isprintable() for line in shown)
    assert json.loads(shown[0])["pipeline"] == HOSTILE
