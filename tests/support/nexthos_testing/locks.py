"""What tests of several workers must not do at the same time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """The folder, for one at a time over all workers of a run.

    pytest-xdist 3.8 has `xdist_group` for that, which pytest 9.2 made ineffective.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
