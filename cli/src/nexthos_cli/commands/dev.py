"""`nexthos dev`: run a folder of pipelines with a NATS server and a controller of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import DurationType, variables, verb


@verb("dev")
@click.argument(
    "folder",
    default=".",
    metavar="[DIR]",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--clean",
    is_flag=True,
    help="Start afresh: forget what earlier runs stored.",
)
@click.option(
    "--for", "duration", type=DurationType(), metavar="TIME", help="End by itself, e.g. 30s."
)
@click.option("--port", default=4222, show_default=True, help="Of the NATS server, if it is free.")
@click.option("--log-level", default="warning", help="Of the controller: debug, info, warning.")
@variables
def dev(
    app: App,
    folder: Path,
    clean: bool,
    duration: float | None,
    port: int,
    log_level: str,
    env: tuple[str, ...],
    env_files: tuple[str, ...],
) -> None:
    """Run the pipelines in DIR, and follow its edits.

    Starts a NATS server on loopback (with its data in a state folder that survives; -s URL uses
    another) and a controller. Every manifest and Benthos file in DIR is linted and applied; a saved file
    is applied again, a deleted one removed. What did not come from DIR is left alone. A `nats.yaml` names
    streams and buckets that the pipelines expect. A plain Benthos file whose input ends runs as a job.
    A `.env` in DIR is read as --env-file is; --env-file wins over it, and -e over both.
    Ctrl-C ends everything, after 3 s at most; a second one at once.

    With --for it ends by itself and tells messages in and out; the exit code is 0 if everything
    published became ready or completed.
    """
    from nexthos_cli.dev.running import Wishes, run
    from nexthos_cli.output.terminal import console
    from nexthos_controller.embedded import configure_logs
    from nexthos_shared.process.stdio import enduring_streams

    options = app.options() if app.connection else None
    configure_logs("console", log_level)
    wishes = Wishes(
        path=folder.resolve(),
        namespace=app.namespace,
        options=options,
        duration=duration,
        clean=clean,
        port=port,
        environ=dict(os.environ),
        env=env,
        env_files=env_files,
    )
    with enduring_streams():
        shown = console()
        if not shown.is_terminal:
            shown = console(width=140)  # a table cut at 80 columns is no use in a log file
        code = asyncio.run(run(wishes, shown))
    if code:
        raise click.exceptions.Exit(code)
