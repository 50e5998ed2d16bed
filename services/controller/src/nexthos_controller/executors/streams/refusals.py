"""What no shared engine can do, known of a definition and of a configuration's bytes alone.

Comes in: fields, bytes, the environment that an engine of this pipeline alone would get. Goes out:
problems, the same to whoever asks: the executor, and `nexthos lint` before anything is connected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nexthos_controller.executors.shared import binding
from nexthos_controller.executors.streams.body import body_of
from nexthos_shared.errors import CannotRunHere, InvalidConfig
from nexthos_shared.reasons import Problem


def of_fields(options: Iterable[str], limits: Iterable[str]) -> list[Problem]:
    """What of a definition is refused: names of `executor_options` and of the `resources` that are set."""
    words = "the streams executor knows no options: its streams share a process"
    problems = [binding.cannot(f"executor_options.{option}", words) for option in options]
    words = "the streams executor can't enforce limits: its streams share a process"
    return problems + [binding.cannot(f"resources.{limit}", words) for limit in limits]


def of_bytes(config: bytes, environment: Mapping[str, str]) -> list[Problem]:
    """The first that is refused of a configuration. Blocks as `body_of`."""
    try:
        body_of(config, environment)
    except (CannotRunHere, InvalidConfig) as error:
        return [error.problem]
    return []
