"""What ran out is told with the next step, and an engine that can't be run with what is wrong with it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nexthos_shared.engine import engine_version, lint, locate_engine, profile_of
from nexthos_shared.errors import EngineMissing, StartFailed
from nexthos_shared.system_errors import passes, with_advice, words_of
from nexthos_testing.foreign import of_another_machine
from nexthos_testing.open_files import open_files_left


def opened_too_many(folder: Path) -> None:
    with open_files_left(0):
        (folder / "more").touch()


def filled(folder: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        os.write(full, b"more")
    finally:
        os.close(full)


@pytest.mark.fault(145)
@pytest.mark.parametrize(
    ("act", "words"),
    [
        (opened_too_many, "too many open files: raise the limit of open files"),
        (filled, "no space left on device: make room"),
    ],
)
def test_what_a_system_ran_out_of_is_told_with_the_next_step(
    act: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=r"Too many|No space") as raised:
        act(tmp_path)
    assert passes(raised.value)
    assert words_of(raised.value).startswith(words)


def test_what_is_not_in_the_table_is_told_in_the_systems_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        (tmp_path / "nothing").read_bytes()
    assert not passes(raised.value)
    assert words_of(raised.value) == "No such file or directory"
    assert words_of(OSError()) == "OSError"


def test_an_engine_that_says_so_is_given_the_same_advice() -> None:
    said = "dial tcp 127.0.0.1:4222: socket: too many open files"
    assert with_advice(said).startswith(f"{said}: raise the limit of open files")
    assert with_advice("connection refused") == "connection refused"


# ---- engines that can't be run


def no_program(engine: Path) -> None:
    engine.write_bytes(b"not a program\n")
    engine.chmod(0o755)


def without_its_loader(engine: Path) -> None:
    engine.write_text("#!/nowhere/ld-musl.so.1\n")
    engine.chmod(0o755)


def not_executable(engine: Path) -> None:
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o644)


def a_folder(engine: Path) -> None:
    engine.mkdir()


def not_there(engine: Path) -> None:
    pass


UNUSABLE = [
    (of_another_machine, "made for another architecture, or damaged"),
    (no_program, "no program for this machine"),
    (without_its_loader, "the loader or interpreter that it names is not on this machine"),
    (not_executable, "chmod +x"),
    (a_folder, "a folder, and no program"),
    (not_there, "no such executable file"),
]


@pytest.mark.fault(146)
@pytest.mark.parametrize(("make", "words"), UNUSABLE)
async def test_an_engine_that_can_not_be_run_is_named_with_what_is_wrong(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    engine = tmp_path / "an-engine"
    make(engine)
    asked = (profile_of(engine), engine_version(engine), lint(engine, b"input: {}\n", {}))
    for question in asked:
        with pytest.raises(EngineMissing) as raised:
            await question
        assert str(raised.value).startswith(f"{engine}: ")
        assert words in str(raised.value)


@pytest.mark.fault(146)
async def test_an_engine_that_is_being_replaced_is_asked_again(tmp_path: Path) -> None:
    engine = tmp_path / "an-engine"
    engine.write_bytes(locate_engine().read_bytes())
    engine.chmod(0o755)
    with engine.open("ab"), pytest.raises(StartFailed, match="text file busy"):
        await profile_of(engine)
    assert (await profile_of(engine)).distribution == "bento"


@pytest.mark.fault(145)
async def test_with_too_many_open_files_no_engine_is_called_missing(tmp_path: Path) -> None:
    engine = tmp_path / "an-engine"
    engine.symlink_to(locate_engine())
    with open_files_left(0), pytest.raises(StartFailed, match="limit of open files"):
        await engine_version(engine)
    assert await asyncio.wait_for(engine_version(engine), 10.0)


async def test_a_working_folder_that_is_not_there_is_no_missing_engine(tmp_path: Path) -> None:
    config = b"input: {stdin: {}}\noutput: {drop: {}}\n"
    with pytest.raises(StartFailed) as raised:
        await lint(locate_engine(), config, {}, workdir=tmp_path / "nowhere")
    assert raised.value.problem.field == "executor_options.workdir"
    assert str(tmp_path / "nowhere") in str(raised.value)


@pytest.mark.parametrize(
    "number", [errno.EROFS, errno.EIO, errno.ENOMEM, errno.EDQUOT, errno.EFBIG]
)
def test_nothing_of_it_is_a_lasting_refusal(number: int) -> None:
    assert passes(OSError(number, os.strerror(number)))
