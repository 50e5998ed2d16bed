"""`nexthos lint`: the check of `apply`, without a store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, variables, verb

if TYPE_CHECKING:
    from nexthos_cli.manifest.lint import Checked
    from nexthos_cli.manifest.loader import Loaded
    from nexthos_cli.output.models import LintOutput


@verb("lint")
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR|-...")
@variables
@output("table", "json", "yaml")
def lint(
    app: App, paths: tuple[str, ...], env: tuple[str, ...], env_files: tuple[str, ...]
) -> None:
    """Check manifests and Benthos files as `apply` does; nothing is connected.

    The engine is asked with the environment that it would get: NATS_URL as this command would connect,
    the manifest's `env`, -e and --env-file. Exit code 1 if anything is wrong.
    """
    from nexthos_cli.manifest.variables import read_variables

    app.run(_lint(app, paths, read_variables(env, env_files, os.environ)))


async def _lint(app: App, paths: Sequence[str], env: Mapping[str, str]) -> None:
    from nexthos_cli.manifest import resources
    from nexthos_cli.manifest.lint import check
    from nexthos_cli.manifest.loader import load
    from nexthos_cli.manifest.sources import read_sources
    from nexthos_cli.output.render import structured
    from nexthos_shared.engine import locate_engine
    from nexthos_shared.errors import NotFound, Refused

    engine = locate_engine()
    sources, problems = read_sources(paths)
    needed, wrong = resources.read_all(sources)
    loaded = load([s for s in sources if not resources.is_resources(s)], env)
    loaded.problems[:0] = [*problems, *wrong]
    checked = await check(loaded.manifests, app.options(), engine=engine)
    if not structured(app, _model(loaded, checked)):
        _show(app, loaded, checked)
        for file, _ in needed:
            app.say(f"{file}: ok")
    if found := [*loaded.problems, *checked.problems]:
        raise Refused(found)
    if not loaded.manifests and not needed:
        raise NotFound(f"nothing to check in {', '.join(paths)}")


def _show(app: App, loaded: Loaded, checked: Checked) -> None:
    from nexthos_cli.errors import sentence

    for skipped in loaded.skipped:
        app.note(f"skipped {skipped.file}: {skipped.reason}")
    for note in dict.fromkeys(checked.notes):
        app.note(note)
    for warning in checked.warnings:
        app.note(f"warning: {sentence(warning)}")
    for number, manifest in enumerate(loaded.manifests):
        if number not in checked.failed:
            app.say(f"{manifest.config_file}: ok")


def _model(loaded: Loaded, checked: Checked) -> LintOutput:
    from nexthos_cli.output.models import LintedFile, LintOutput, SkippedFile, problem_output

    problems = [*loaded.problems, *checked.problems]
    files = [
        LintedFile(file=m.config_file, id=m.id, ok=number not in checked.failed)
        for number, m in enumerate(loaded.manifests)
    ]
    broken = dict.fromkeys(p.file for p in loaded.problems if p.file)
    return LintOutput(
        files=[*files, *(LintedFile(file=file, ok=False) for file in broken)],
        problems=[problem_output(p) for p in problems],
        warnings=[problem_output(w) for w in checked.warnings],
        skipped=[SkippedFile(file=s.file, reason=s.reason) for s in loaded.skipped],
        notes=list(dict.fromkeys(checked.notes)),
    )
