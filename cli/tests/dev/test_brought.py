from __future__ import annotations

import json
from pathlib import Path

import pytest

from nexthos_cli.dev.brought import Brought, state_folder


def test_what_was_noted_is_there_in_the_next_run(tmp_path):
    Brought.load(tmp_path).note({"orders": "a/orders.yaml"})
    Brought.load(tmp_path).note({"report": "b.yaml"})

    assert Brought.load(tmp_path).files == {"orders": "a/orders.yaml", "report": "b.yaml"}


def test_what_was_forgotten_is_not(tmp_path):
    brought = Brought.load(tmp_path)
    brought.note({"orders": "a.yaml", "report": "b.yaml"})
    brought.forget("orders")
    brought.forget("never-noted")

    assert Brought.load(tmp_path).files == {"report": "b.yaml"}


@pytest.mark.parametrize("content", ["", "nonsense", "[1]", '{"orders": 1}', "null"])
def test_a_damaged_note_removes_nothing(tmp_path, content):
    (tmp_path / "brought.json").write_text(content)

    assert Brought.load(tmp_path).files == {}


def test_the_note_is_replaced_in_one_step(tmp_path):
    Brought.load(tmp_path / "new").note({"orders": "a.yaml"})

    assert [p.name for p in (tmp_path / "new").iterdir()] == ["brought.json"]
    assert json.loads((tmp_path / "new" / "brought.json").read_text()) == {"orders": "a.yaml"}


def test_each_folder_and_each_server_has_its_own_state():
    environ = {"HOME": "/home/ada", "XDG_STATE_HOME": "/state"}
    folders = {
        state_folder(environ, Path(path), server)
        for path in ("/a/pipelines", "/b/pipelines", "/")
        for server in ("", "nats://a:4222")
    }

    assert len(folders) == 6
    assert {f.parent for f in folders} == {Path("/state/nexthos")}
    assert state_folder({"HOME": "/home/ada"}, Path("/a"), "").is_relative_to(
        "/home/ada/.local/state/nexthos"
    )
