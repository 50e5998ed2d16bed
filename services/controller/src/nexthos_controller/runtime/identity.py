"""What is told of a controller and does not change while it runs; its engine has to be asked for it.

Light to import: the engine takes 50 ms to answer, while the rest of the controller is imported.
"""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass
from importlib.metadata import version

from nexthos_controller.settings import Settings
from nexthos_shared import engine
from nexthos_shared.nats.options import ConnectOptions


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while a controller runs."""

    controller: str
    version: str
    namespace: str
    installation: str
    started_at: float
    store: str
    engine: str


async def ask_identity(settings: Settings, options: ConnectOptions) -> Identity:
    """Ask the default engine. Raises EngineMissing."""
    binary = settings.engine or engine.locate_engine()
    stated = await engine.engine_version(binary)
    return Identity(
        controller=f"{socket.gethostname()}-{secrets.token_hex(3)}",
        version=version("nexthos-controller"),
        namespace=settings.namespace,
        installation="",
        started_at=time.time(),
        store=options.safe_url,
        engine=f"{binary} ({stated})",
    )
