"""One controller of a namespace at a time, as long as there is no lease to hand over.

On one machine the state folder is locked; over the network a controller that runs answers a ping.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError

from nexthos_shared.errors import TerminalError
from nexthos_shared.names import Names
from nexthos_shared.reasons import Reason


@contextmanager
def only_one_here(state_dir: Path) -> Iterator[None]:
    """Hold the state folder: the system lets go of it when this process ends, however it ends."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TerminalError(
                f"another controller on this machine uses {state_dir}; stop it first",
                reason=Reason.ANOTHER_CONTROLLER,
            ) from error
        yield


async def refuse_second(nc: Client, names: Names) -> None:
    """Raise if a controller of this namespace answers. Its lease comes with failover."""
    try:
        reply = await nc.request(f"$SRV.PING.{names.service}", b"", timeout=1.0)
    except NatsError:
        return
    raise TerminalError(
        f"a controller of namespace {names.namespace!r} runs already ({reply.data.decode()[:120]}); "
        "stop it, or choose another NEXTHOS_NAMESPACE",
        reason=Reason.ANOTHER_CONTROLLER,
    )
