# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""The execution's folder: exactly the pinned bytes are kept, and no credentials stay."""

import os
import stat
from pathlib import Path

import pytest

from nexthos_runner.failed import Failed
from nexthos_runner.folder import Folder
from nexthos_shared.exits import Exit
from nexthos_shared.names import digest_of

CONFIG = b"input: {stdin: {}}\n"


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "execution")


def test_what_is_kept_is_private_whole_and_found_again(folder):
    before = os.umask(0)
    try:
        folder.keep(CONFIG)
    finally:
        os.umask(before)
    assert folder.kept(digest_of(CONFIG)) == CONFIG
    assert stat.S_IMODE(folder.config.stat().st_mode) == 0o600
    assert [path.name for path in folder.path.iterdir()] == ["config.yaml"]


def test_other_bytes_than_the_pinned_ones_are_not_kept(folder):
    folder.keep(CONFIG[:-1])
    assert folder.kept(digest_of(CONFIG)) is None
    assert Folder(folder.path.parent / "empty").kept(digest_of(CONFIG)) is None


def test_a_link_in_its_place_is_not_followed_and_gives_way(folder, tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(CONFIG)
    folder.config.symlink_to(target)
    assert folder.kept(digest_of(CONFIG)) is None
    folder.keep(b"new")
    assert target.read_bytes() == CONFIG
    assert folder.config.read_bytes() == b"new"


def test_what_a_killed_start_left_half_written_is_no_obstacle(folder):
    (folder.path / ".config.yaml.new").write_bytes(b"half")
    folder.keep(CONFIG)
    assert folder.kept(digest_of(CONFIG)) == CONFIG


def test_credentials_that_lie_here_are_dropped_and_others_left(folder, tmp_path):
    here, elsewhere = folder.path / "store.creds", tmp_path / "mine.creds"
    for path in (here, elsewhere):
        path.write_text("secret")
        folder.drop(path)
        folder.drop(path)
    folder.drop(None)
    assert not here.exists()
    assert elsewhere.exists()


def test_credentials_are_dropped_under_another_name_of_the_folder_too(folder, tmp_path):
    other = tmp_path / "other"
    other.symlink_to(folder.path)
    (folder.path / "store.creds").write_text("secret")
    folder.drop(other / "store.creds")
    assert not (folder.path / "store.creds").exists()


def test_credentials_that_cannot_be_dropped_keep_the_engine_from_starting(folder):
    (folder.path / "store.creds").mkdir()
    with pytest.raises(Failed, match=r"store\.creds") as failed:
        folder.drop(folder.path / "store.creds")
    assert failed.value.code is Exit.NO_FOLDER


def test_an_earlier_lifes_figures_are_not_taken_for_this_ones(tmp_path):
    (tmp_path / "metrics.prom").write_text("input_received 7\n")
    Folder(tmp_path)
    assert not (tmp_path / "metrics.prom").exists()


def test_by_hand_it_is_a_new_private_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    one, two = Folder(None), Folder(None)
    assert one.path != two.path
    assert one.path.parent == tmp_path
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, where):
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed, match="file") as failed:
        Folder(tmp_path / Path(where))
    assert failed.value.code is Exit.NO_FOLDER
