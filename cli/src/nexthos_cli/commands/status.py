"""`nexthos status`: everything about one pipeline, or about the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids
from nexthos_cli.command.options import output, verb

if TYPE_CHECKING:
    from nexthos_shared.model import Event
    from nexthos_shared.store import Store

LAST_EVENTS = 8
TRIES = 8  # requests are shared out among all controllers; the one that acts knows most


@verb("status")
@click.argument("id", required=False, shell_complete=complete_ids)
@output("table", "json", "yaml")
def status(app: App, id: str | None) -> None:
    """Tell everything about pipeline ID; without ID, about the controller (which must run).

    A pipeline's status is read from the store: it is there without a controller too.
    """
    app.run(_controller(app) if id is None else _pipeline(app, id.removeprefix("pipeline/")))


async def _pipeline(app: App, key: str) -> None:
    async with app.store() as store:
        from msgspec import structs

        from nexthos_cli.output.description import pipeline_reply, show_pipeline
        from nexthos_cli.output.render import structured
        from nexthos_cli.pipelines.selection import check_key

        entry, reported = (
            await store.pipelines.get(check_key(key, write=False)),
            await store.statuses.get(key),
        )
        reply = pipeline_reply(key, entry, reported)
        reply = structs.replace(reply, events=await _last_events(store, key))
        led = await _is_led(store)
    if not structured(app, reply):
        show_pipeline(reply, entry, reported, led=led)


async def _is_led(store: Store) -> bool:
    """Whether a controller acts; True where that can't be read: nothing is said of it then."""
    from nexthos_cli.doctor.store_checks import is_held
    from nexthos_shared.errors import NexthosError
    from nexthos_shared.names import LEASE_KEY

    try:
        return is_held(await store.control.get(LEASE_KEY))
    except NexthosError:
        return True


async def _last_events(store: Store, key: str) -> list[Event]:
    """None where they can't be read: a status is worth telling without them."""
    from nexthos_shared.errors import NexthosError
    from nexthos_shared.names import is_id

    try:
        return await store.events.last(key, LAST_EVENTS) if is_id(key) else []
    except NexthosError:
        return []


async def _controller(app: App) -> None:
    async with app.link() as link:
        from nexthos_cli.output.description import show_controller
        from nexthos_cli.output.render import structured
        from nexthos_cli.remote.request import ask
        from nexthos_shared.model import ControllerReply, StatusRequest

        timeout = 4.0 if app.timeout is None else app.timeout
        for _ in range(TRIES):
            reply = await ask(link, app.names, "status", StatusRequest(), ControllerReply, timeout)
            if reply.acts or reply.leader is None:
                break
    if not structured(app, reply):
        show_controller(reply)
