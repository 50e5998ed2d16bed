"""Which pipelines a request speaks of. Comes in: names as a client writes them. Goes out: keys."""

from __future__ import annotations

from nexthos_controller.loop.reconciler import Controller
from nexthos_shared import names
from nexthos_shared.errors import NotFound


def existing(controller: Controller, value: str) -> str:
    """The key, if a pipeline is stored there or something of one is left. Raises NotFound, InvalidName."""
    key = names.check_key(value)
    if is_gone(controller, key):
        raise NotFound(f"no pipeline {key!r}")
    return key


def is_gone(controller: Controller, key: str) -> bool:
    """Whether nothing is stored there, and nothing is left of what was."""
    stored = controller.desired.stored(key)
    return controller.statuses.status(key) is None and (stored is None or stored.value is None)


def all_keys(controller: Controller) -> list[str]:
    """Every key with a definition or a status, sorted."""
    desired = controller.desired
    listed: list[str] = desired.keys()
    stored = (key for key in listed if (e := desired.stored(key)) and e.value)
    return sorted({*stored, *controller.statuses.keys()})
