"""`nexthos-controller` as it is, but on SIGUSR1 it writes down which tasks live in its loop.

The file is $SOAK_TASKS/<pid>: a JSON object of how many there are by what they run. Nothing of the controller
is changed: how many tasks it has can't be seen from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path

from nexthos_controller.main import main


def tell(*_: object) -> None:
    """The handler runs between two steps of the loop, in its thread."""
    tasks = asyncio.all_tasks(asyncio.get_running_loop())
    names = Counter(getattr(t.get_coro(), "__qualname__", "?") for t in tasks if not t.done())
    file = Path(os.environ["SOAK_TASKS"]) / str(os.getpid())
    new = file.with_suffix(".new")
    new.write_text(json.dumps(names))
    new.replace(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    main()
