"""What the names in a definition stand for, and what is known of it later: the same for all executors.

Comes in: the executor's context, a definition. Goes out: values, or what is wrong with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version

from nexthos_controller.execution import Spec
from nexthos_controller.executors.contract import Connection, ExecutorContext
from nexthos_shared import names
from nexthos_shared.engine import inspect as shape
from nexthos_shared.errors import CannotRunHere
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem, Reason

CONTROLLER = version("nexthos-controller")  # reading it takes a millisecond


def name_of(context: ExecutorContext, spec: Spec, replica: int) -> str:
    """The name of the execution of that replica, whichever executor makes it."""
    owner = context.owner
    return names.execution_name(
        owner.namespace, spec.id, replica, owner.installation, spec.spec_hash
    )


def stored(definition: Pipeline) -> dict[str, object]:
    """A definition as handles keep it."""
    return definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def cannot(field: str, words: str) -> Problem:
    """What an executor says of a field that it can't do."""
    return Problem(Reason.CANNOT_RUN_HERE, f"{field}: {words}", field=field)


def unknown_engine(name: str) -> Problem:
    """What is said of an engine that this executor has not."""
    words = f"engine {name!r} is not in the controller's settings"
    return Problem(Reason.UNKNOWN_ENGINE, words, field="engine")


def unknown_connection(name: str) -> Problem:
    """What is said of a connection that the settings have not."""
    words = f"connection {name!r} is not in the controller's settings"
    return Problem(Reason.UNKNOWN_CONNECTION, words, field="connection")


def connection_of(context: ExecutorContext, definition: Pipeline) -> Connection:
    """The NATS that it gets. Raises CannotRunHere if the settings have none of that name."""
    connection = context.connections.get(definition.connection)
    if connection is None:
        raise CannotRunHere(
            unknown_connection(definition.connection).message,
            reason=Reason.UNKNOWN_CONNECTION,
            field="connection",
        )
    return connection


def made_with(
    context: ExecutorContext, engine: str, identity: str | None, connection: str
) -> dict[str, str]:
    """What the settings make of these names today, to be compared with what they did.

    `identity` tells one engine of that name from another; None: there is none.
    """
    made = {"controller": CONTROLLER}
    if identity is not None:
        made[f"engine {engine}"] = identity
    if (nats := context.connections.get(connection)) is not None:
        creds = f" with {nats.creds}" if nats.creds else ""
        made[f"connection {connection}"] = f"{nats.url}{creds}"
    return made


def outdated(before: Mapping[str, str], today: Mapping[str, str]) -> str:
    """What is otherwise today, in words; empty if nothing, or if it is not known what was before."""
    differ = [name for name in today if before.get(name, today[name]) != today[name]]
    return "; ".join(f"{name} was {before[name]}, is {today[name]}" for name in differ)


async def leaves_metrics(config: bytes) -> bool:
    """Whether the overlay may say where metrics go: the file names none of its own.

    Reading YAML may take most of a second, and always takes a tenth of an engine's start: only files
    that could name metrics are read, and those in a thread.
    """
    if shape.leaves_metrics(config):
        return True
    found = await asyncio.to_thread(shape.read_shape, config)
    return found.takes_metrics
