"""`status ID` and `status` for people: what is wanted, what is, why, and what runs where."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nexthos_cli.output.columns import Cell
from nexthos_cli.output.lines import line
from nexthos_cli.output.printing import Coloured, echo
from nexthos_cli.output.render import age, plain_table, table
from nexthos_shared.errors import NotFound
from nexthos_shared.model import ControllerReply, PipelineReply, PipelineStatus, read_entry
from nexthos_shared.model.entries import read_definition, read_status

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry

SHOWN = ("name", "description", "executor", "engine", "connection", "lifecycle", "replicas")


def pipeline_reply(key: str, entry: KvEntry | None, reported: KvEntry | None) -> PipelineReply:
    """What the two buckets say, in the form of the controller's own `status {id}`. Raises NotFound."""
    status = read_status(reported)
    stored = entry is not None and entry.value is not None
    if not stored and status is None:
        raise NotFound(f"no pipeline {key!r} is stored")
    read = read_entry(key, entry.revision, entry.value) if entry is not None else None
    return PipelineReply(
        id=key,
        revision=entry.revision if entry else 0,
        definition=read_definition(entry),
        problem=read.problem.message if read and read.problem else None,
        status=status,
    )


def show_pipeline(
    reply: PipelineReply, entry: KvEntry | None, reported: KvEntry | None, *, led: bool
) -> None:
    """Print it. Not `led`: no controller acts now, so all of it is as the last one left it."""
    now = time.time()
    summary = line(reply.id, entry, reported, now)
    _pairs(_facts(reply, summary.wanted or "?", summary.age, deleted=summary.deleted))
    status = reply.status
    if status is not None and not led:
        _section("no controller acts now: this is how the last one left it (`nexthos doctor`)")
    if status is None:
        _section("not reconciled yet: is a controller running? (`nexthos doctor`)")
        return
    if status.conditions:
        _section("Conditions:")
        table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), _conditions(status, now))
    if status.executions:
        _section("Executions:")
        table(("NAME", "STATE", "READY", "RESTARTS", "EXIT", "EXECUTOR", "PLACE"), _runs(status))
        more = status.executions_total - len(status.executions)
        echo(f"and {more} more" if more > 0 else "", nl=more > 0)
    if reply.events:
        _section("Events:")
        table(("AGE", "REASON", "PHASE", "MESSAGE"), _happened(reply, now))
    if summary.reason:
        _section(f"see: nexthos explain {summary.reason}; nexthos logs {reply.id}")


def _facts(
    reply: PipelineReply, wanted: str, seconds: float, *, deleted: bool
) -> Iterator[tuple[str, str]]:
    definition, status = reply.definition or {}, reply.status
    yield "Pipeline", reply.id
    yield "Wanted", "deleted" if deleted else f"{wanted}, since {age(seconds)}"
    if reply.problem:
        yield "Problem", reply.problem
    if status is not None:
        yield "Phase", f"{status.phase}, {status.ready} of {status.replicas} ready"
        current = status.observed_revision >= reply.revision
        note = "" if current or deleted else " (looked at an older revision)"
        yield "Version", f"{status.version or '-'}{note}"
    if definition.get("version") != (status.version if status else None):
        yield "Wanted version", str(definition.get("version", "-"))
    for field in SHOWN:
        if definition.get(field):
            yield field.capitalize(), " ".join(str(definition[field]).split())
    for field in ("labels", "env"):
        value = definition.get(field)
        if isinstance(value, dict) and value:
            shown = value if field == "env" else [f"{k}={v}" for k, v in value.items()]
            yield field.capitalize(), ", ".join(str(part) for part in shown)
    yield "Revision", str(reply.revision)
    if status is not None:
        drifts = f", {status.drifts} times put right" if status.drifts else ""
        yield "Restarts", f"{status.restarts}{drifts}"
        if status.controller:
            yield "Controller", status.controller


def _conditions(status: PipelineStatus, now: float) -> Iterator[list[Cell]]:
    for c in status.conditions:
        place = ":".join(str(p) for p in (c.file, c.line, c.column) if p is not None)
        message = " ".join(c.message.split()) + (f" ({place})" if place else "")
        since = age(max(now - c.since, 0)) if c.since else "-"
        colour = "magenta" if c.status == "Unknown" else "red" if c.is_bad else "green"
        yield [str(c.type), Coloured(c.status, colour), str(c.reason), since, message]


def _happened(reply: PipelineReply, now: float) -> Iterator[list[str]]:
    for event in reply.events:
        data, since = event.data, age(max(now - event.seconds, 0))
        yield [since, str(data.reason), str(data.phase or "-"), " ".join(data.message.split())]


def _runs(status: PipelineStatus) -> Iterator[list[str]]:
    for e in status.executions:
        ready = "-" if e.ready is None else "yes" if e.ready else "no"
        exit_code = "-" if e.exit_code is None else str(e.exit_code)
        yield [e.name, e.state, ready, str(e.restarts), exit_code, e.executor, e.place]


def show_controller(reply: ControllerReply) -> None:
    """Print what the controller says of itself."""
    phases = ", ".join(f"{count} {phase}" for phase, count in sorted(reply.phases.items()))
    started = age(max(time.time() - reply.started_at, 0))
    installation = f" (installation {reply.installation})" if reply.installation else ""
    _pairs(
        [
            ("Controller", f"{reply.controller}, version {reply.version}, up {started}"),
            ("Role", _role(reply)),
            ("Namespace", f"{reply.namespace}{installation}"),
            ("Ready", "yes" if reply.ready else "no"),
            *(("Problem", f"{p.message} ({p.reason})") for p in reply.problems),
            ("Store", reply.store),
            ("Engine", reply.engine),
            ("Pipelines", f"{reply.pipelines}{f': {phases}' if phases else ''}"),
            ("Queued", str(reply.queued)),
        ]
    )
    if not reply.executors:
        return
    _section("Executors:")
    rows = [
        [
            f"{e.name} (default)" if e.default else e.name,
            "yes" if e.reachable else "no",
            str(e.executions),
            ",".join(e.places) or "-",
            e.message,
        ]
        for e in reply.executors
    ]
    table(("NAME", "REACHABLE", "EXECUTIONS", "PLACES", "MESSAGE"), rows)


def _role(reply: ControllerReply) -> str:
    leader = reply.leader
    if reply.acts:
        since = f", since {age(max(time.time() - leader.since, 0))}" if leader else ""
        return f"acts{since}"
    if leader is None:
        return "standby; no leader at the moment"
    return f"stands by; {leader.controller} on {leader.host} acts"


def _pairs(pairs: Iterable[tuple[str, str]]) -> None:
    listed = [(f"{name}:", value) for name, value in pairs]
    for text in plain_table(listed[0], listed[1:]):
        echo(text)


def _section(words: str) -> None:
    echo()
    echo(words)
