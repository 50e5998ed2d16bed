"""The order of a start, and how it ends if there is no engine: `nexthos-runner`.

Comes in: the environment. Goes out: an engine in this process's place, or an exit code of
`nexthos_shared.exit_codes` with one error line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from nexthos_runner import asked, files, launch, log, settings
from nexthos_runner.failed import Failed
from nexthos_runner.folder import Folder
from nexthos_shared import names
from nexthos_shared.exit_codes import Exit


def main() -> int:
    """Become the engine; an exit code if that fails."""
    if len(sys.argv) > 1:
        from nexthos_runner.arguments import answer

        return answer(sys.argv[1:])
    asked.heed()
    environ = dict(os.environ)
    log.label(
        settings.labels_of(
            environ.get(names.ENV_PIPELINE, ""),
            environ.get(names.ENV_VERSION, ""),
            environ.get(names.ENV_REPLICA) or "0",
        )
    )
    try:
        start(environ)
    except Failed as failed:
        log.error(str(failed))
        return failed.code
    except Exception as error:
        # Its words may hold anything, so only its kind and place are told.
        log.error(f"a defect of the runner: {type(error).__name__} at {_place(error)}")
        return Exit.DEFECT


def start(environ: Mapping[str, str]) -> NoReturn:
    """Settings, bytes, argv, and the step. What is needed later is looked at early."""
    told = settings.read(environ)
    _check_readable(told)
    engine = launch.find(environ)
    folder = Folder(told.folder)
    content = _content(told, folder)
    if told.store_creds != told.nats_creds:
        folder.drop(told.store_creds)  # before anything of the definition counts
    argv = launch.engine_argv(engine, told, folder, content)
    env = launch.engine_environment(told, environ)
    launch.become(argv, env, folder.path, is_job=told.is_job)


def _content(told: settings.Settings, folder: Folder) -> bytes:
    if told.digest is not None and (kept := folder.kept(told.digest)) is not None:
        return kept
    from nexthos_runner.fetch import fetch

    content = fetch(told)
    folder.keep(content)
    return content


def _check_readable(told: settings.Settings) -> None:
    """The engine would start without its credentials, and be refused for ever."""
    creds = told.nats_creds
    if creds is None or names.ENV_NATS_CREDS in told.env:
        return
    try:
        files.read(creds, 0)
    except OSError as error:
        raise Failed(Exit.SETTINGS, f"credentials file {creds}: {error.strerror}") from error


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
