"""`nexthos setup`: create the buckets and the stream of events, and put their settings right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, verb

if TYPE_CHECKING:
    from nexthos_shared.errors import NexthosError
    from nexthos_shared.store import Store


def installation_id(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Raises BadParameter for what is no id of an installation."""
    if value is not None and not re.fullmatch(r"[0-9a-f]{12}", value):
        raise click.BadParameter("12 hex digits, as `nexthos status` names it")
    return value


def size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Bytes. Raises BadParameter for what is none."""
    from nexthos_shared.model.quantities import parse_memory

    try:
        return None if value is None else parse_memory(int(value) if value.isdecimal() else value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} {error}") from error


@verb("setup")
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="Copies of each in a NATS cluster: 1, 3 or 5.",
)
@click.option(
    "--installation",
    metavar="ID",
    callback=installation_id,
    help="Make this store, which must be empty, that of executions that a lost one left running.",
)
@click.option(
    "--max-bytes",
    callback=size,
    metavar="SIZE",
    help="Limit of each bucket, e.g. 256Mi: for an account that requires one.",
)
@output("table", "json", "yaml")
def setup(app: App, replicas: int, installation: str | None, max_bytes: int | None) -> None:
    """Create what is missing of the namespace: four buckets, and the stream of events.

    What exists keeps what it holds, its replicas and limits; settings that nexthos rests on (see
    `nexthos doctor`) are put right, and told. A controller creates the same where no bucket exists, with
    one replica, and changes nothing. What the server refuses is told with its words, and exits 1; once
    the limit is raised, the same command makes the rest.
    """
    app.run(_setup(app, replicas, installation, max_bytes))


async def _setup(app: App, replicas: int, installation: str | None, max_bytes: int | None) -> None:
    from nexthos_cli.output.models import SetupOutput
    from nexthos_cli.output.render import structured

    names = app.names
    async with app.link() as link:
        from nexthos_shared.store import Store

        store = Store.of(link, names)
        made = await store.setup(replicas, installation, max_bytes or -1)
        took = installation is not None and await store.take_over(installation)
        changed, refused = await _mend(store)
    buckets = (names.pipelines, names.configs, names.status, names.control)
    there = [n for n in (*buckets, names.events) if n not in made.refused]
    existing = [name for name in there if name not in made.created]
    told = {name: str(error) for name, error in made.refused.items()}
    output = SetupOutput(created=made.created, existing=existing, refused=told, changed=changed)
    if not structured(app, output):
        for name in there:
            kind = "stream" if name == names.events else "bucket"
            app.say(f"{kind}/{name} {'created' if name in made.created else 'exists'}")
        for stream, words in changed.items():
            app.say(f"stream/{stream} changed: {'; '.join(words)}")
        if took:
            app.say(f"installation/{installation} taken over: what it runs is ours")
        if set(made.created) & set(buckets) and set(existing) & set(buckets):
            app.note("a bucket was made beside others: look at `nexthos ls` before going on")
    if made.refused:
        raise _refused(made.refused, names.events)
    if refused is not None:
        raise refused


def _refused(refused: Mapping[str, NexthosError], events: str) -> NexthosError:
    """What the server refused, with what to do about it."""
    from nexthos_shared.errors import StoreRefused

    error = next(iter(refused.values()))
    rest = (
        f" (and {len(refused) - 1} more: {', '.join([*refused][1:])})" if len(refused) > 1 else ""
    )
    step = "raise that limit of the account or the server, and run `nexthos setup` again"
    if "max bytes" in str(error):
        step = "give each a limit: `nexthos setup --max-bytes 256Mi`"
    if [*refused] == [events]:
        step += "; all but `nexthos events` works without it"
    return StoreRefused(f"{error}{rest}: {step}")


async def _mend(store: Store) -> tuple[dict[str, list[str]], NexthosError | None]:
    """Put settings right, of each stream that can be; what was, and the first error."""
    from nexthos_shared.errors import NexthosError, StoreMissing

    changed: dict[str, list[str]] = {}
    refused: NexthosError | None = None
    for stream in store.streams():
        try:
            done = await store.mend(stream)
        except StoreMissing:
            continue  # the stream of events, for which there is no room
        except NexthosError as error:
            refused = refused or error
            continue
        if done:
            changed[stream] = [difference.change for difference in done]
    return changed, refused
