"""The `nexthos` command: which verbs there are, and where each one lives.

A command's module is imported when that command runs and not before, so `nexthos ls` does not pay for
what `nexthos dev` needs. The one-line helps therefore stand here.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import click

from nexthos_cli.command.options import global_params
from nexthos_cli.errors import INTERRUPTED, reader_gone, run_and_report
from nexthos_cli.output.printing import echo
from nexthos_shared.process.last_resorts import clean_last_resorts

SECTIONS: dict[str, dict[str, str]] = {
    "Run and define": {
        "dev": "Run a folder of pipelines with a NATS server and a controller of its own.",
        "apply": "Make what is stored equal to manifests and Benthos files.",
        "publish": "Run pipelines, or another version of them (alias: resume).",
        "pause": "Stop pipelines and keep them.",
        "draft": "Stop pipelines and leave no trace of what ran.",
        "scale": "Run more or fewer replicas of pipelines.",
        "restart": "Restart pipelines, keeping their definition.",
        "rollback": "Put an earlier definition of a pipeline again.",
        "rollout": "Renew what was started with older settings, some at a time.",
        "rm": "Delete pipelines, or what is left without a definition.",
    },
    "Look": {
        "ls": "List pipelines, one line each.",
        "get": "Print a pipeline as a manifest that `apply` takes back.",
        "status": "Tell everything about a pipeline, or about the controller (alias: describe).",
        "history": "List what was stored of a pipeline before.",
        "events": "Tell what happened to pipelines, and follow it.",
        "logs": "Print the engines' lines of a pipeline, and follow them.",
        "top": "Show what pipelines take of CPU and memory, and their messages per second.",
        "wait": "Wait until pipelines are ready, paused, completed or deleted.",
        "reconcile": "Have the controller look again now, and wait for the outcome.",
    },
    "Check and set up": {
        "lint": "Check manifests and Benthos files as `apply` does.",
        "doctor": "Check the connection, the store, the controller and the engine.",
        "explain": "Tell what a reason means and what to do.",
        "schema": "Print JSON Schemas of what is stored and printed.",
        "setup": "Create the buckets of the namespace, and its stream of events.",
        "auth": "Print the rights in NATS that a role takes, as configuration or command.",
        "abandon": "Declare a place gone for good, with all that lived there.",
        "completion": "Print a completion script for bash, zsh or fish.",
    },
}
ALIASES = {"resume": "publish", "describe": "status"}


class Nexthos(click.Group):
    """Commands by name, imported on use; one place for errors and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs that are installed, in the order of the help."""
        return [name for section in SECTIONS.values() for name in section if _exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"nexthos_cli.commands.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a mistyped name."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            known = [*self.list_commands(ctx), *ALIASES]
            close = difflib.get_close_matches(args[0], known, n=2, cutoff=0.5)
            hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by section, without importing any of them."""
        for title, commands in SECTIONS.items():
            rows = [(name, words) for name, words in commands.items() if _exists(name)]
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C, or a reader that went away, are ends like any other."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            ctx.exit(reader_gone())

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, report every error in one form, and exit with 0, 1, 2, 4 or 130."""
        argv = list(sys.argv[1:] if args is None else args)
        clean_last_resorts()

        def run() -> Any:
            return super(Nexthos, self).main(
                argv, prog_name or "nexthos", complete_var, standalone_mode=False, **extra
            )

        return sys.exit(run_and_report(run, argv)) if standalone_mode else run()


def _exists(name: str) -> bool:
    if name != "dev":
        return True
    return importlib.util.find_spec("nexthos_cli.commands.dev") is not None


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        echo(f"nexthos {version('nexthos')}")
        ctx.exit()


@click.group(
    cls=Nexthos,
    params=global_params(hidden=False),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed or invalid, 2 usage, 4 not there in time. "
    "`nexthos COMMAND --help` tells more; options stand before or after the command.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Print the version.",
)
def cli() -> None:
    """Stream processing pipelines that live in NATS and run anywhere."""


if __name__ == "__main__":
    cli()
