"""What an engine of this machine is given: binary, argv, environment, working folder; and what it can't be.

Comes in: the executor's context, a definition, a handle. Goes out: values, or what is wrong with them.
Starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from nexthos_controller.executors.contract import Connection, LocalContext
from nexthos_controller.executors.process.handle import CONFIG, Handle, Life, metrics_of
from nexthos_controller.executors.shared import binding
from nexthos_shared import engine
from nexthos_shared.errors import StartFailed
from nexthos_shared.model import Pipeline
from nexthos_shared.process.engine_user import EngineUser, EngineUsers
from nexthos_shared.reasons import Problem

WORKDIR = "workdir"


def problems_of(context: LocalContext, definition: Pipeline) -> list[Problem]:
    """Everything in `definition` that this executor can't do."""
    problems = []
    if definition.engine not in context.engines:
        problems.append(binding.unknown_engine(definition.engine))
    if definition.connection not in context.connections:
        problems.append(binding.unknown_connection(definition.connection))
    for option, value in definition.executor_options.items():
        if option != WORKDIR:
            words = "the process executor knows no such option (it knows: workdir)"
            problems.append(binding.cannot(f"executor_options.{option}", words))
        elif not isinstance(value, str) or not os.path.isabs(value):
            problems.append(
                binding.cannot(f"executor_options.{option}", "must be an absolute path")
            )
    for limit in ("cpu", "memory"):
        if getattr(definition.resources, limit) is not None:
            words = "the process executor can't enforce limits"
            problems.append(binding.cannot(f"resources.{limit}", words))
    return problems


def engine_argv(
    binary: Path,
    profile: engine.EngineProfile,
    definition: Pipeline,
    handle: Handle,
    life: Life,
    folder: Path,
) -> list[str]:
    """Argv of the engine itself. Raises SettingsError for a folder that can't be passed in a flag."""
    overrides = engine.overlay(
        address=f"127.0.0.1:{life.port}",
        password=life.token,
        labels={
            "pipeline": handle.id,
            "version": definition.version or "none",
            "replica": str(handle.replica),
        },
        stop_timeout=definition.stop_timeout,
        metrics=handle.takes_metrics and profile.has_prometheus,
        metrics_file=metrics_of(folder, life),
    )
    return profile.run_command(binary, folder / CONFIG, overrides)


def environment_of(connection: Connection, definition: Pipeline, handle: Handle) -> dict[str, str]:
    """The whole environment, for the shim and so for the engine."""
    return engine.environment(
        nats_url=connection.url,
        nats_creds=connection.creds,
        pipeline=handle.id,
        version=definition.version or "",
        replica=handle.replica,
        env=definition.env,
        base=os.environ,
    )


def user_of(users: EngineUsers | None, taken: Collection[int], handle: Handle) -> int | None:
    """Who its next life runs as: who the last one did, where that is nobody else. Raises StartFailed."""
    if users is None:
        return None
    user = users.free(taken, handle.life.user if handle.life is not None else None)
    if user is None:
        raise StartFailed(f"engine_user: none of the users {users} is free: name more of them")
    return user.uid


def become(users: EngineUsers | None, life: Life) -> EngineUser | None:
    """Who a life runs as."""
    if users is None or life.user is None:
        return None
    return EngineUser(life.user, users.gid)


def workdir_of(definition: Pipeline, folder: Path) -> Path:
    """Where relative paths of the configuration start."""
    return Path(definition.executor_options.get(WORKDIR, folder))
