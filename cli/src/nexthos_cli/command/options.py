"""Options that many commands share. Their values go into the `App`, not into the commands' arguments.

Connection options are named as the `nats` CLI names them, and may stand before or after the command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids

F = TypeVar("F", bound=Callable[..., Any])

_CONNECTION = {  # flag: (metavar, help)
    ("-s", "--server"): ("URL", "NATS server (NATS_URL)."),
    ("--context",): ("NAME", "NATS context (NATS_CONTEXT)."),
    ("--creds",): ("FILE", "Credentials file (NATS_CREDS)."),
    ("--user",): ("NAME", "User (NATS_USER)."),
    ("--password",): ("TEXT", "Password (NATS_PASSWORD)."),
    ("--token",): ("TEXT", "Token (NATS_TOKEN)."),
    ("--nkey",): ("FILE", "NKEY seed file (NATS_NKEY)."),
    ("--tlscert",): ("FILE", "TLS certificate (NATS_CERT)."),
    ("--tlskey",): ("FILE", "TLS private key (NATS_KEY)."),
    ("--tlsca",): ("FILE", "TLS authority (NATS_CA)."),
}


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """Seconds, from `30`, `30s`, `1m30s` or `500ms`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The seconds, or a usage error that names the forms."""
        from nexthos_shared.model import parse_duration

        try:
            return parse_duration(float(value) if str(value).isdecimal() else value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


def _connect(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None and param.name is not None:
        ctx.ensure_object(App).connection[param.name] = value


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, False) and param.name is not None:
        setattr(ctx.ensure_object(App), param.name, value)


def _namespace(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    from nexthos_shared.errors import InvalidName
    from nexthos_shared.names import check_namespace

    if value is None:
        return
    try:
        ctx.ensure_object(App).namespace = check_namespace(value)
    except InvalidName as error:
        raise click.BadParameter(str(error), ctx, param) from error


def global_params(*, hidden: bool) -> list[click.Parameter]:
    """Connection, namespace, timeout and quiet. `hidden`: taken, and not shown in the help."""
    always: dict[str, Any] = {"hidden": hidden, "expose_value": False}
    environ = None if hidden else "NEXTHOS_NAMESPACE"  # else it would win over an option before
    namespace = click.Option(
        ("-n", "--namespace"),
        metavar="NAME",
        envvar=environ,
        callback=_namespace,
        help="Namespace of the pipelines (NEXTHOS_NAMESPACE; default: nexthos).",
        **always,
    )
    timeout = click.Option(
        ("--timeout",),
        type=DurationType(),
        metavar="TIME",
        callback=_keep,
        help="How long to wait, e.g. 30s.",
        **always,
    )
    quiet = click.Option(
        ("-q", "--quiet"),
        is_flag=True,
        callback=_keep,
        help="Print results and errors only.",
        **always,
    )
    connection = [
        click.Option(flags, metavar=metavar, help=words, callback=_connect, **always)
        for flags, (metavar, words) in _CONNECTION.items()
    ]
    return [namespace, timeout, quiet, *connection]


class Verb(click.Command):
    """A command that also takes every global option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {flag for param in self.params for flag in param.opts}
        self.params += [p for p in global_params(hidden=True) if not own.intersection(p.opts)]


def verb(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command; its `App` is passed as the first argument."""

    def wrap(function: Callable[..., None]) -> click.Command:
        return click.command(name, cls=Verb, context_settings={"max_content_width": 100})(
            click.make_pass_decorator(App, ensure=True)(function)
        )

    return wrap


def output(*formats: str) -> Callable[[F], F]:
    """`-o`: the first format is the default."""
    return click.option(
        "-o",
        "--output",
        "format",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        expose_value=False,
        callback=_keep,
        help="How to print.",
    )


def selection(function: F) -> F:
    """IDs, `-l`, `--all` and `-y`, as `ids`, `labels`, `everything` and `yes`."""
    for decorate in (
        click.option("-y", "--yes", is_flag=True, help="Don't ask for confirmation."),
        click.option("--all", "everything", is_flag=True, help="All pipelines; asks first."),
        click.option("-l", "labels", multiple=True, metavar="KEY=VALUE", help="By label."),
        click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_ids),
    ):
        function = decorate(function)
    return function


def variables(function: F) -> F:
    """`-e` and `--env-file`, as `env` and `env_files`."""
    for decorate in (
        click.option(
            "--env-file",
            "env_files",
            multiple=True,
            metavar="FILE",
            help="Lines NAME=VALUE, put into `env` of each pipeline.",
        ),
        click.option(
            "-e",
            "--env",
            "env",
            multiple=True,
            metavar="NAME=VALUE",
            help="Put into `env` of each pipeline; NAME alone takes its value from here.",
        ),
    ):
        function = decorate(function)
    return function


def waiting(function: F) -> F:
    """`--wait`, as `wait`."""
    return click.option(
        "--wait",
        is_flag=True,
        help="Wait until the pipeline reaches the requested state (--timeout, 60s).",
    )(function)
