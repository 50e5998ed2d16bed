"""Showing that something is waited for: a spinner on a terminal, lines of news elsewhere. On stderr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nexthos_cli.app import App
from nexthos_cli.output.models import Waited
from nexthos_cli.output.render import console, on_terminal
from nexthos_cli.wait.wait import Target, Verdict, Waiting, raise_if_not_there, wait_for
from nexthos_shared.printable import printable

if TYPE_CHECKING:
    from nexthos_shared.store import Store


async def wait_and_show(app: App, store: Store, targets: Mapping[str, Target]) -> Waiting:
    """Wait with `app.patience`, telling the way there. Judge with `raise_if_not_there`."""
    waiting = Waiting(targets, lambda *_: None)
    with _progress(app, waiting):
        await wait_for(store, waiting, app.patience)
    return waiting


def conclude(app: App, waiting: Waiting) -> None:
    """Tell what is there; raise for what is not (exit codes 1 and 4)."""
    for key, waited in waiting.results.items():
        if waited.result == "reached":
            app.say(f"pipeline/{key} {_name(waited)} after {waited.seconds:.1f}s")
    raise_if_not_there(waiting, app.patience)


def _name(waited: Waited) -> str:
    if waited.goal == "ready" and waited.phase == "Completed":
        return "completed"
    return waited.goal


@contextmanager
def _progress(app: App, waiting: Waiting) -> Iterator[None]:
    if app.quiet or (app.structured and not on_terminal(stderr=True)):
        yield
    elif on_terminal(stderr=True):
        from rich.text import Text

        with console(stderr=True).status("waiting") as spinner:

            def show(key: str, target: Target, verdict: Verdict) -> None:
                done = f"{len(waiting.results)} of {len(waiting.targets)} {target.goal}"
                # On one line: a second one would begin with words of others.
                words = printable(f"{done}; pipeline/{key}: {verdict.words}")
                spinner.update(Text(words, no_wrap=True, overflow="ellipsis"))

            waiting.tell = show
            yield
    else:
        waiting.tell = lambda key, _, verdict: _line(app, key, verdict)
        yield


def _line(app: App, key: str, verdict: Verdict) -> None:
    if verdict.result == "on its way":
        app.note(f"pipeline/{key}: {verdict.words}")
