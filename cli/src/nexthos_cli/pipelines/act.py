"""publish, pause, draft, scale, restart, rm: one write per pipeline, told one line each, waited for if asked.

What fails for one pipeline does not keep the others from being done; all failures are told at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nexthos_cli.app import App
from nexthos_cli.apply.write import in_parallel
from nexthos_cli.output.models import Acted, Action, ActOutput, Waited
from nexthos_cli.output.render import structured
from nexthos_cli.pipelines.entry import Change, NotRunning, Rewritten, rewrite
from nexthos_cli.pipelines.remarks import MOST, of_consumers, of_replicas
from nexthos_cli.pipelines.selection import Selection, chosen
from nexthos_cli.wait.progress import conclude, wait_and_show
from nexthos_cli.wait.wait import GOAL_OF, Target
from nexthos_shared.errors import NexthosError, Refused
from nexthos_shared.model import Wanted
from nexthos_shared.names import is_id
from nexthos_shared.reasons import Problem

if TYPE_CHECKING:
    from nexthos_shared.store import Store


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be done to each pipeline. `done` is what it is called afterwards."""

    verb: str
    done: Action
    change: Change
    detail: str = ""
    wait: bool = False
    replicas: int = 1  # that it is scaled to


@dataclass(slots=True)
class Done:
    """What was done, and what was not."""

    acted: list[Acted] = field(default_factory=list)
    targets: dict[str, Target] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


async def act(app: App, selection: Selection, deed: Deed) -> None:
    """Change the entries of the chosen. Raises Refused, NotInTime."""
    async with app.store() as store:
        done = Done()

        async def one(key: str) -> None:
            if deed.replicas > 1 and len(keys) <= MOST:
                for remark in await of_replicas(store, key, deed.replicas):
                    app.note(remark)
            try:
                now = await rewrite(store, key, deed.change)
            except NexthosError as error:
                if isinstance(error, NotRunning) and not selection.ids:
                    app.note(f"skipped: {error}")
                else:
                    done.problems.append(error.problem)
                return
            action = deed.done if now.changed else "unchanged"
            done.acted.append(
                Acted(id=key, action=action, revision=now.revision, version=now.version)
            )
            done.targets[key] = target_of(now)

        keys = await chosen(store, selection, verb=deed.verb, write=True)
        await in_parallel(one, keys)
        await finish(app, store, done, detail=deed.detail, wait=deed.wait)


def target_of(now: Rewritten) -> Target:
    """What to wait for after a write of that entry."""
    goal = GOAL_OF[now.wanted] if now.wanted else GOAL_OF[Wanted.PUBLISHED]
    return Target(goal, now.revision, now.version)


async def remove(app: App, selection: Selection, *, keep_configs: bool, wait: bool) -> None:
    """Delete the chosen, then their configurations. Raises Refused, NotInTime."""
    async with app.store() as store:
        done = Done()

        async def one(key: str) -> None:
            left = await of_consumers(store, key) if is_id(key) and len(keys) <= MOST else []
            try:
                await store.pipelines.delete(key)
                done.acted.append(Acted(id=key, action="deleted"))
                done.targets[key] = Target("deleted")
                for remark in left:
                    app.note(remark)
                if not keep_configs and is_id(key):
                    await _delete_configs(store, key)
            except NexthosError as error:
                done.problems.append(error.problem)

        keys = await chosen(store, selection, verb="delete", write=False)
        await in_parallel(one, keys)
        await finish(app, store, done, wait=wait)


async def _delete_configs(store: Store, key: str) -> None:
    """After the entry: what runs keeps its bytes itself, and nothing may want them any more."""
    await store.configs.delete_all(key)


async def finish(app: App, store: Store, done: Done, *, wait: bool, detail: str = "") -> None:
    """Tell what was done, wait for it if asked. Raises Refused, NotInTime."""
    done.acted.sort(key=lambda acted: acted.id)
    for acted in done.acted:
        app.say(_line(acted, detail))
    waiting = await wait_and_show(app, store, done.targets) if wait and done.targets else None
    structured(app, _model(done, waiting.results if waiting else {}))
    if done.problems:
        raise Refused(done.problems)
    if waiting:
        conclude(app, waiting)


def _line(acted: Acted, detail: str) -> str:
    if acted.action == "published" and acted.version:
        detail = f"(version {acted.version})"
    words = f" {detail}" if detail and acted.action != "unchanged" else ""
    return f"pipeline/{acted.id} {acted.action}{words}"


def _model(done: Done, results: Mapping[str, Waited]) -> ActOutput:
    return ActOutput(
        pipelines=[a.model_copy(update={"waited": results.get(a.id)}) for a in done.acted]
    )
