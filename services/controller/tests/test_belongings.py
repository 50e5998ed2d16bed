"""Folders of an engine's user: what is the engine's, what stays ours, and how what it left is read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nexthos_controller.executors.local.belongings import hand_over, open_up, read_theirs
from nexthos_controller.executors.local.processes import is_ours
from nexthos_controller.executors.local.shim import noted
from nexthos_shared.process.engine_user import EngineUser, EngineUsers

USER = EngineUser(64_017, 64_018)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def modes(folder: Path) -> dict[str, tuple[int, str]]:
    return {f.name: (f.stat().st_uid, oct(f.stat().st_mode & 0o7777)) for f in folder.iterdir()}


def filled(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    for name in ("config", "handle"):
        (folder / name).touch(mode=0o600)
    return folder


@as_root
def test_a_folder_stays_ours_and_holds_what_is_the_engines(tmp_path):
    folder = filled(tmp_path / "orders")
    for _ in range(2):  # a second life too
        work = hand_over(USER, folder, reads=["config"], writes=["exit"])

        assert work == folder / "work"
        assert modes(folder) == {
            "config": (USER.uid, "0o440"),
            "exit": (USER.uid, "0o640"),
            "work": (USER.uid, "0o770"),
            "handle": (0, "0o600"),
        }
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (0, 0o711)


@as_root
def test_another_user_takes_over_what_the_one_before_it_had(tmp_path):
    folder = filled(tmp_path / "orders")
    hand_over(USER, folder, reads=["config"], writes=["exit"])
    hand_over(EngineUser(64_020, 64_018), folder, reads=["config"], writes=["exit"])

    assert {name: uid for name, (uid, _) in modes(folder).items()} == {
        "config": 64_020,
        "exit": 64_020,
        "work": 64_020,
        "handle": 0,
    }


def test_without_a_user_nothing_is_given_away(tmp_path):
    folder = filled(tmp_path / "orders")
    before = modes(folder)

    assert hand_over(None, folder, reads=["config"], writes=["exit"]) == folder
    open_up(None, tmp_path / "new")
    assert modes(folder) == before
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_state_folder_is_passed_through_and_not_listed(tmp_path):
    open_up(
        EngineUsers(64_017, 64_017, 64_017), tmp_path / "state", tmp_path / "state" / "executions"
    )

    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o711
    assert (tmp_path / "state" / "executions").stat().st_mode & 0o777 == 0o711


@pytest.mark.fault(114)
def test_what_an_engine_puts_in_place_of_a_file_is_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("0 x 1\n")
    link, pipe, folder = tmp_path / "link", tmp_path / "pipe", tmp_path / "folder"
    link.symlink_to(secret)
    os.mkfifo(pipe)
    folder.mkdir()

    for way in (link, pipe, folder, tmp_path / "none"):
        assert read_theirs(way, 1000) == ""
    assert read_theirs(secret, 3) == "0 x"


@as_root
def test_a_link_to_somebody_elses_file_is_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    os.link(secret, tmp_path / "hard")

    assert read_theirs(tmp_path / "hard", 10, USER.uid) == ""
    os.chown(secret, USER.uid, USER.gid)
    assert read_theirs(tmp_path / "hard", 10, USER.uid) == "x"


@pytest.mark.fault(114)
def test_a_note_without_end_is_no_note(tmp_path):
    (tmp_path / "exit").write_text("0 " + "x" * 10_000_000 + " 1\n")

    assert noted(tmp_path) is None


@as_root
def test_a_process_is_ours_by_who_runs_it_not_by_what_it_is_called():
    with subprocess.Popen(["sleep", "60"], user=64_017, group=64_017, extra_groups=[]) as child:
        try:
            assert not is_ours(child.pid, None)
            assert not is_ours(child.pid, EngineUsers(64_018, 64_020, 5))
            assert is_ours(child.pid, EngineUsers(64_010, 64_020, 5))
            assert is_ours(child.pid, None, {64_017})
            assert is_ours(os.getpid(), None)
        finally:
            child.kill()
    assert not is_ours(child.pid, None)
