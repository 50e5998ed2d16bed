"""What is stored of something, in a folder: how it comes, changes and goes, each in one step.

A folder is filled beside its place and renamed into it, and renamed away before it is emptied, so a
crash leaves all of it or nothing. A file is replaced by rename. There is no fsync: it would cost an
engine's whole start, and after a power cut nothing runs that a file could tell of; what is lost then is
a kept execution, which is made anew.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nexthos_controller.execution import Owner
from nexthos_shared import names
from nexthos_shared.errors import ExecutorUnreachable, StartFailed
from nexthos_shared.system_errors import words_of

HIDDEN = "."  # names that begin so are on their way in or out


def hidden_prefix(owner: Owner) -> str:
    """What the names of the owner's folders begin with while they come and go."""
    tag = names.digest_of(f"{owner.namespace}\n{owner.installation}".encode())[7:15]
    return f"{HIDDEN}{tag}."


def publish(
    root: Path,
    owner: Owner,
    name: str,
    files: Mapping[str, bytes],
    before: Callable[[], None] = lambda: None,
) -> None:
    """Make the whole folder. Raises FileExistsError if there is one, OSError if it can't be made.

    `before` is called when all of it stands beside its place.
    """
    building = _aside(root, owner, name)
    try:
        building.mkdir(mode=0o700)
        for file, content in files.items():
            _write(building / file, content)
        before()
        if (root / name).exists():  # rename would replace an empty folder, whoever's it is
            raise FileExistsError(name)
        building.rename(root / name)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        raise


def replace_file(file: Path, content: bytes) -> None:
    """Put `content` in place of `file`, readable by nobody else. Raises OSError; then all is as before."""
    fresh = file.with_name(f"{file.name}.new")
    try:
        _write(fresh, content)
        fresh.rename(file)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def withdraw(root: Path, owner: Owner, name: str) -> Path | None:
    """Take the folder away in one step; what to delete then. None if it is gone. Raises OSError."""
    leaving = _aside(root, owner, name)
    try:
        (root / name).rename(leaving)
    except FileNotFoundError:
        return None
    return leaving


def sweep(root: Path, owner: Owner) -> None:
    """Delete what crashes left of the owner's folders on their way in or out."""
    for entry in root.iterdir():
        if entry.name.startswith(hidden_prefix(owner)):
            shutil.rmtree(entry, ignore_errors=True)


def _aside(root: Path, owner: Owner, name: str) -> Path:
    return root / f"{hidden_prefix(owner)}{name}.{secrets.token_hex(4)}"


def _write(file: Path, content: bytes) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


@contextmanager
def reachable(path: Path) -> Iterator[None]:
    """An OSError meanwhile is told as ExecutorUnreachable: what can't be read is not gone."""
    try:
        yield
    except OSError as error:
        raise unreachable(path, error) from error


def unreachable(path: Path, error: OSError) -> ExecutorUnreachable:
    """What is raised where `path` can't be used: nothing may be concluded from that."""
    return ExecutorUnreachable(f"{path}: {words_of(error)}")


def start_failed(what: object, error: OSError) -> StartFailed:
    """What is raised where something could not be made or spawned; a path that the error names is told."""
    named = str(error.filename or "")
    where = f" ({named})" if named not in str(what) else ""
    return StartFailed(f"{what}: {words_of(error)}{where}")
