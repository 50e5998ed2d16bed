"""What the names in a definition stand for here: engines, connections, and the environment they make.

Comes in: settings. Goes out: the very same values to lint and to executors, so that what passes lint
is what runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nexthos_controller.execution import Spec
from nexthos_controller.executors.contract import Connection
from nexthos_shared import engine
from nexthos_shared.process.engine_user import EngineUsers


@dataclass(frozen=True, slots=True)
class Catalog:
    """Engines and connections by name; `default` is always among both.

    `engines` are those that have a binary on this machine, `images` those that have an image.
    """

    engines: Mapping[str, Path]
    images: Mapping[str, str]
    connections: Mapping[str, Connection]
    engine_users: EngineUsers | None = None

    def environment(self, spec: Spec, replica: int) -> dict[str, str]:
        """Exactly what the engine of this replica finds in its environment."""
        definition = spec.definition
        connection = self.connections[definition.connection]
        return engine.environment(
            nats_url=connection.url,
            nats_creds=connection.creds,
            pipeline=spec.id,
            version=definition.version or "",
            replica=replica,
            env=definition.env,
            base=os.environ,
        )
