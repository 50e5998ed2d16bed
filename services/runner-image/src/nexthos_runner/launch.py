"""The engine's argv and environment, and the step into it.

Comes in: settings, the folder, the bytes. Goes out: nothing; the process is the engine then, or a job's
small parent. `Failed` with code 72 where there is no engine. Must not know NATS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from nexthos_runner import asked, job
from nexthos_runner.failed import Failed
from nexthos_runner.folder import Folder
from nexthos_runner.settings import Settings
from nexthos_shared.engine.launch import environment, overlay
from nexthos_shared.engine.profile import (
    ANSWER_TIMEOUT,
    ENGINE_NAME,
    Distribution,
    EngineProfile,
    distribution_of,
    locate_engine,
    not_started,
)
from nexthos_shared.errors import EngineMissing, SettingsError
from nexthos_shared.exit_codes import Exit

# Asking a binary what it is takes 30 ms at each start; these names are answer enough.
_KNOWN: dict[str, Distribution] = {
    ENGINE_NAME: "bento",
    "bento": "bento",
    "benthos": "benthos",
    "redpanda-connect": "redpanda-connect",
}


@dataclass(frozen=True, slots=True)
class Engine:
    """A binary, and how it is called."""

    binary: Path
    profile: EngineProfile


def find(environ: Mapping[str, str]) -> Engine:
    """The engine that is to run."""
    try:
        binary = locate_engine(environ)
        return Engine(binary, EngineProfile(_KNOWN.get(binary.name) or _told_by(binary)))
    except EngineMissing as error:
        raise Failed(Exit.NO_ENGINE, str(error)) from error


def engine_argv(engine: Engine, settings: Settings, folder: Folder, content: bytes) -> list[str]:
    """What the engine is called with. Nothing in it is secret: every user of the machine may read it."""
    try:
        overrides = overlay(
            address=settings.address,
            password=settings.http_password,
            labels=settings.labels,
            stop_timeout=settings.stop_timeout,
            metrics=_leaves_metrics(settings, content) and engine.profile.has_prometheus,
            metrics_file=folder.metrics,
        )
    except SettingsError as error:
        raise Failed(Exit.USAGE, str(error)) from error
    return engine.profile.run_command(engine.binary, folder.config, overrides)


def _told_by(binary: Path) -> Distribution:
    import subprocess

    try:
        said = subprocess.run(
            [binary, "--help"],
            env={"PATH": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineMissing(f"{binary} --help: no answer in {ANSWER_TIMEOUT:g} s") from error
    except OSError as error:
        raise EngineMissing(str(not_started(binary, error))) from error
    return distribution_of(binary, (said.stdout + said.stderr).decode("utf-8", "replace"))


def _leaves_metrics(settings: Settings, content: bytes) -> bool:
    if settings.metrics is not None:
        return settings.metrics
    from nexthos_shared.engine.inspect import leaves_metrics

    return leaves_metrics(content)


def engine_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """All that the engine finds in its environment."""
    return environment(
        nats_url=settings.nats_url,
        nats_creds=settings.nats_creds,
        pipeline=settings.pipeline,
        version=settings.version,
        replica=settings.replica,
        env=settings.env,
        base=environ,
    )


def become(argv: list[str], env: Mapping[str, str], folder: Path, *, is_job: bool) -> NoReturn:
    """Be the engine, or a job's parent, in the execution's folder."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise Failed(Exit.NO_FOLDER, f"{folder}: {error.strerror}") from error
    if is_job:
        # Signals stay blocked until it waits for them. No variable of a definition reaches it.
        argv, env = [sys.executable, "-I", "-m", "nexthos_runner.job", *argv], job.marked(env)
    else:
        asked.as_found()
    try:
        os.execve(argv[0], argv, env)
    except OSError as error:
        raise Failed(Exit.NO_ENGINE, str(not_started(Path(argv[0]), error))) from error
