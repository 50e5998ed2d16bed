"""`nexthos auth`: print what NATS has to allow a role."""

from __future__ import annotations

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, verb
from nexthos_cli.output.printing import echo


@verb("auth")
@click.argument("role")
@click.argument("id", required=False)
@click.option(
    "--api", default="$JS.API", show_default=True, help="What JetStream's API begins with."
)
@click.option(
    "--inbox", default="_INBOX", show_default=True, help="What the user's own inboxes begin with."
)
@click.option("--password", metavar="TEXT", default="", help="Of the user; default: change-me.")
@click.option("--nkey", metavar="KEY", default="", help="Public NKEY of the user, for a password.")
@output("nats-conf", "nats-cli", "json")
def auth(
    app: App, role: str, id: str | None, api: str, inbox: str, password: str, nkey: str
) -> None:
    """Print the rights of ROLE: a user to paste into the configuration of a NATS server.

    Roles: controller; runner ID; viewer; author [ID]. Nothing is asked or changed. What is not printed
    is refused by NATS.
    """
    from nexthos_cli.output.grants import as_command, as_conf
    from nexthos_cli.output.models import AuthOutput
    from nexthos_cli.output.render import structured
    from nexthos_shared.nats.rights import Asked, rights

    granted = rights(role, Asked(app.names, id or "", api, inbox))
    if structured(
        app,
        AuthOutput(
            role=role,
            user=granted.user,
            about=granted.words,
            publish=list(granted.publish),
            subscribe=list(granted.subscribe),
        ),
    ):
        return
    app.note(granted.words)
    is_command = app.format == "nats-cli"
    text = as_command(granted) if is_command else as_conf(granted, password=password, nkey=nkey)
    for line in text.splitlines():
        echo(line)
