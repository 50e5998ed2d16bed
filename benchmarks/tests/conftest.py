from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nexthos_testing.controller import kill_leftovers


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """A benchmark that fails to clear up fails its test, and no more than that."""
    yield
    kill_leftovers(tmp_path)
