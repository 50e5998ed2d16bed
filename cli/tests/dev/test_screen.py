from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from nexthos_cli.dev import screen as screens
from nexthos_cli.dev.screen import Screen, pipelines_table, subjects_table
from nexthos_cli.output.terminal import CleanConsole
from nexthos_controller.execution import LogLine
from nexthos_controller.telemetry.engine_metrics import Count
from nexthos_shared.model import Condition, ConditionType, Phase, PipelineStatus
from nexthos_shared.printable import printable
from nexthos_shared.reasons import Reason
from nexthos_testing.tty import FORGED, HOSTILE


class Shown:
    """A screen off a terminal, and what it printed."""

    def __init__(self, width: int = 140) -> None:
        self.console = CleanConsole(file=io.StringIO(), width=width)
        self.screen = Screen(self.console)

    @property
    def lines(self) -> list[str]:
        assert isinstance(self.console.file, io.StringIO)
        return [line.rstrip() for line in self.console.file.getvalue().splitlines()]

    @property
    def said(self) -> list[str]:
        """Without the clock."""
        return [line.split(maxsplit=1)[1] for line in self.lines]


def status(phase: Phase = Phase.RUNNING, **more: Any) -> PipelineStatus:
    values: dict[str, Any] = {"phase": phase, "ready": 1, "replicas": 1, "version": "abc"}
    return PipelineStatus(**{**values, **more})


def entry(message: str, level: str = "info", **more: str) -> LogLine:
    return LogLine(json.dumps({"level": level, "msg": message, **more}), "log")


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_a_change_of_phase_is_a_line_and_the_same_again_is_none(shown):
    shown.screen.status("orders", status(Phase.STARTING, ready=0))
    shown.screen.status("orders", status())
    shown.screen.status("orders", status(updated_at=5.0))
    shown.screen.status("orders", None)
    shown.screen.status("orders", None)

    assert shown.said == [
        "orders               Starting 0/1 version abc",
        "orders               Running 1/1 version abc",
        "orders               removed",
    ]


def test_an_engines_line_is_told_with_its_component_and_without_chatter(shown):
    ours = {"pipeline": "orders", "version": "abc", "replica": "0"}
    shown.screen.log("orders", entry("it failed", "error", path="root.output", **ours))
    shown.screen.log("orders", entry("detail", "debug"))
    shown.screen.log("orders", entry("Launching a nexthos-engine instance, use CTRL+C to close"))
    shown.screen.log("orders", entry("Listening for HTTP requests at: http://127.0.0.1:1", "info"))
    shown.screen.log("orders", LogLine("not JSON [red]at all[/]", "log"))

    assert [line.split(maxsplit=1)[1] for line in shown.said] == [
        "it failed (root.output)",
        "not JSON [red]at all[/]",
    ]


def test_output_is_told_as_it_is_even_if_it_repeats(shown):
    for _ in range(2):
        shown.screen.log("orders", LogLine('{"level": "debug"}', "output"))

    assert [line.split(maxsplit=1)[1] for line in shown.said] == ['{"level": "debug"}'] * 2


def test_a_repeated_line_is_told_once_and_then_counted(shown, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for _ in range(3):
        shown.screen.log("orders", entry("bad record", "error"))
    clock[0] += screens.REPEATS_EVERY
    shown.screen.log("orders", entry("bad record", "error"))

    assert [line.split(maxsplit=1)[1] for line in shown.said] == [
        "bad record",
        "bad record (2 more like this)",
    ]


def test_a_sentence_is_never_wrapped_or_read_as_markup():
    shown = Shown(width=40)
    words = "error: /a/very/long/path/to/orders.yaml:3:1: [bold]it[/bold] is not right"
    shown.screen.say(words, "red")

    assert shown.lines == [words]


def test_a_long_reason_does_not_squeeze_the_numbers_out():
    shown = Shown(width=100)
    told = status(
        conditions=[
            Condition(
                type=ConditionType.READY,
                status="False",
                reason=Reason.NOT_CONNECTED,
                message="m" * 300,
            )
        ]
    )
    shown.console.print(pipelines_table({"orders": told}, {"orders": Count(1234, 5, 0)}, 100))

    header, row, *message = shown.lines
    assert header.split()[:8] == [
        "PIPELINE",
        "PHASE",
        "READY",
        "VERSION",
        "IN",
        "OUT",
        "ERRORS",
        "RESTARTS",
    ]
    assert row.split()[:8] == ["orders", "Running", "1/1", "abc", "1,234", "5", "0", "0"]
    told_whole = "".join(line[header.index("REASON") :] for line in (row, *message))
    assert told_whole == f"NotConnected:{'m' * 300}"


def test_subjects_are_told_with_what_is_new_and_not_without_end():
    assert subjects_table({}, {}) is None
    shown = Shown()
    after = {f"s.{n:03}": 10 for n in range(screens.MOST_SUBJECTS + 2)}
    shown.console.print(subjects_table({"s.000": 4}, after))

    assert shown.lines[1].split() == ["s.000", "6", "10"]
    assert shown.lines[2].split() == ["s.001", "10", "10"]
    assert shown.lines[-1] == "and 2 more"


def test_nothing_that_a_terminal_obeys_comes_out_of_lines_statuses_and_sentences(shown):
    told = Condition(
        type=ConditionType.READY, status="False", reason=Reason.EXITED, message=HOSTILE
    )
    shown.screen.status(HOSTILE, status(Phase.CRASH_LOOP, version=HOSTILE, conditions=[told]))
    shown.screen.log("orders", entry(HOSTILE, "error", path=HOSTILE))
    shown.screen.log("orders", LogLine(HOSTILE, "output"))
    shown.screen.log("orders", LogLine("{" * 100_000, "log"))
    shown.screen.say(HOSTILE, "red")
    shown.console.print(pipelines_table({HOSTILE: status(conditions=[told])}, {}, 140))
    shown.console.print(subjects_table({}, {HOSTILE: 3}))
    shown.console.print(HOSTILE)
    assert [line for line in shown.lines if printable(line) != line] == []
    assert (
        sum(line.startswith(FORGED) for line in shown.lines) == 1
    )  # the last, which was ours to split
