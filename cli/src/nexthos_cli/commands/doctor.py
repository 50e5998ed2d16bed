"""`nexthos doctor`: what works and what does not, each line with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, verb
from nexthos_cli.output.printing import Coloured, echo

if TYPE_CHECKING:
    from nexthos_cli.output.models import Check


@verb("doctor")
@output("table", "json", "yaml")
def doctor(app: App) -> None:
    """Check connection, JetStream, permissions, buckets, clock, controller and engine.

    Nothing is written. Exit code 1 if a line says `fail`.
    """
    app.run(_doctor(app))


async def _doctor(app: App) -> None:
    app.options()
    from nexthos_cli.doctor.checks import diagnose
    from nexthos_cli.output.models import DoctorOutput
    from nexthos_cli.output.render import structured

    checks = []
    async for check in diagnose(app):
        checks.append(check)
        if not app.structured:
            _show(check)
    healthy = all(check.result != "fail" for check in checks)
    structured(app, DoctorOutput(checks=checks, healthy=healthy))
    if not healthy:
        click.get_current_context().exit(1)


def _show(check: Check) -> None:
    from nexthos_cli.output.render import COLOURS, colours

    colour = COLOURS[check.result] if colours() else ""
    word = Coloured(f"{check.result:<4}", colour)
    echo(word, f"  {check.name}: {check.message}")
    if check.remedy:
        echo(f"      -> {check.remedy}")
