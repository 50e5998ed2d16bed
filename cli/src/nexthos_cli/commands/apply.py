"""`nexthos apply`: make what is stored equal to files."""

from __future__ import annotations

import os

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, variables, verb, waiting


@verb("apply")
@click.argument("paths", nargs=-1, metavar="[FILE|DIR|-]...")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE|DIR|-", help="Same as PATH.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.option("--no-lint", is_flag=True, help="Skip the local lint; the controller lints anyway.")
@variables
@waiting
@output("table", "name", "json", "yaml")
def apply(
    app: App,
    paths: tuple[str, ...],
    files: tuple[str, ...],
    dry_run: bool,
    no_lint: bool,
    env: tuple[str, ...],
    env_files: tuple[str, ...],
    wait: bool,
) -> None:
    """Make what is stored equal to manifests and Benthos files.

    A manifest has `schema: 1`, the fields of a pipeline and `config: |` or `config_file:`. A plain
    Benthos file is a pipeline named after its file. Everything is read and linted first, and nothing is
    applied if anything is wrong. What a manifest leaves out gets its default, except `status` and
    `restart_nonce`: they stay as they are stored.

    Examples:  nexthos apply orders.yaml --wait;  nexthos apply pipelines/ -e REGION=eu;
    nexthos get orders -o yaml | nexthos apply -
    """
    from nexthos_cli.apply.run import Application
    from nexthos_cli.manifest.variables import read_variables

    named = [*paths, *files]
    if not named:
        raise click.UsageError("name a FILE, a DIR, or - for stdin")
    given = read_variables(env, env_files, os.environ)
    application = Application(app, dry_run=dry_run, lint=not no_lint, wait=wait)
    app.run(application.run(list(dict.fromkeys(named)), given))
