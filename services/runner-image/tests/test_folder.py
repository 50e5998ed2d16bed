# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""The execution's folder: exactly the pinned bytes are kept, and no credentials stay."""

import os
import stat
from pathlib import Path

import pytest

from nexthos_runner import files
from nexthos_runner.failed import Failed
from nexthos_runner.folder import Folder
from nexthos_shared.exit_codes import Exit
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


@pytest.mark.fault(93)
@pytest.mark.parametrize("name", ["config.yaml", ".config.yaml.new", "metrics.prom", "store.creds"])
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "hard"])
def test_what_a_pipeline_left_in_our_place_is_not_read_waited_for_or_written_through(
    tmp_path, name, kind
):
    victim = tmp_path / "victim"
    victim.write_bytes(CONFIG)
    (tmp_path / "execution").mkdir()
    there = tmp_path / "execution" / name
    match kind:
        case "link":
            there.symlink_to(victim)
        case "dangling":
            there.symlink_to(tmp_path / "made")
        case "fifo":
            os.mkfifo(there)
        case "hard":
            there.hardlink_to(victim)
    folder = Folder(tmp_path / "execution")
    if kind != "hard":
        assert folder.kept(digest_of(CONFIG)) is None
    folder.keep(b"new")
    folder.drop(folder.path / "store.creds")
    assert folder.config.read_bytes() == b"new"
    assert [path.name for path in folder.path.iterdir()] == ["config.yaml"]
    assert stat.S_ISREG(folder.config.lstat().st_mode)
    assert victim.read_bytes() == CONFIG
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["config.yaml", ".config.yaml.new", "metrics.prom", "store.creds"])
def test_a_folder_in_our_place_is_told_and_nothing_starts(tmp_path, name):
    (tmp_path / name / "sub").mkdir(parents=True)

    def start():
        folder = Folder(tmp_path)
        assert folder.kept(digest_of(CONFIG)) is None
        folder.keep(CONFIG)
        folder.drop(tmp_path / "store.creds")

    with pytest.raises(Failed) as failed:
        start()
    assert failed.value.code is Exit.NO_FOLDER
    assert (tmp_path / name / "sub").is_dir()


@pytest.mark.parametrize("kind", ["fifo", "folder", "/dev/zero", "/dev/tty"])
def test_a_file_that_is_none_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path(kind)
    with pytest.raises(OSError, match=r"regular|directory|device"):
        files.read(path, 100)


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
