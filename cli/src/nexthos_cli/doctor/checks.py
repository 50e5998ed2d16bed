"""The checks of `doctor`: each looks at one thing and says what it saw and what to do.

Comes in: the options. Goes out: `Check`s, in an order in which a later one rests on the earlier ones.
Nothing is written anywhere. A check that can't be made is a warning, not a guess.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nexthos_cli.app import App
from nexthos_cli.doctor.results import fail, ok, warn
from nexthos_cli.output.models import Check
from nexthos_shared.errors import (
    EngineMissing,
    InstallationDiffers,
    NexthosError,
    NotFound,
)
from nexthos_shared.names import LEASE_KEY
from nexthos_shared.reasons import Reason

if TYPE_CHECKING:
    from nexthos_shared.model import ControllerReply
    from nexthos_shared.nats.connection import Link
    from nexthos_shared.store import Store

SKEW = 5.0  # seconds between this clock and the server's that matter to ages and backoffs
SLOW = 0.25  # seconds of round trip
FULL = 0.9  # of what is allowed
ANSWERS_WITHIN = 1.0  # seconds, for a controller that only stands by


async def diagnose(app: App) -> AsyncIterator[Check]:
    """All checks, as far as they can be made."""
    yield await engine()
    try:
        async with app.link() as link:
            from nexthos_shared.store import Store

            store = Store.of(link, app.names)
            yield await connection(link)
            yield await _made("jetstream", jetstream(link))
            yield await permissions(link, store)
            async for check in _store(store):
                yield check
            acting = await controller(app, link)
            yield acting
            async for check in _leader(store, acts=acting.result != "fail"):
                yield check
    except NexthosError as error:
        yield fail("connection", str(error), f"nexthos explain {error.problem.reason}")


async def _store(store: Store) -> AsyncIterator[Check]:
    from nexthos_cli.doctor.store_checks import survey

    try:
        missing = await store.missing()
    except NexthosError as error:
        yield fail("buckets", str(error), f"nexthos explain {error.problem.reason}")
        return
    yield buckets(store, missing)
    if missing:
        return
    yield await _made("events", events(store))
    yield await _made("settings", settings(store))
    yield await _made("installation", installation(store))
    yield await _made("messages", messages(store))
    yield await _made("room", room(store))
    yield await _made("clock", clock(store))
    try:
        for check in await survey(store):
            yield check
    except Exception as error:
        yield _unseen("statuses", error)


async def _leader(store: Store, *, acts: bool) -> AsyncIterator[Check]:
    """Who acts; nothing where the line about the controller has said it already."""
    from nexthos_cli.doctor.store_checks import leader

    try:
        lease = await store.control.get(LEASE_KEY)
    except NexthosError:
        return  # the bucket is missing, or may not be read: told above
    if (check := leader(lease, time.time(), acts=acts)) is not None:
        yield check


async def _made(name: str, check: Awaitable[Check]) -> Check:
    try:
        return await check
    except Exception as error:
        return _unseen(name, error)


def _unseen(name: str, error: Exception) -> Check:
    """Whatever it is, the other checks are still worth making."""
    words = f"can't be looked at: {str(error) or type(error).__name__}"
    return warn(name, words, "see the line about permissions")


async def engine() -> Check:
    """Whether there is an engine to lint with, and which."""
    from nexthos_shared.engine import engine_version, locate_engine, profile_of

    try:
        binary = locate_engine()
        profile, version = await profile_of(binary), await engine_version(binary)
    except EngineMissing as error:
        return warn("engine", str(error), "only `lint` and `apply` here miss it; see the message")
    return ok("engine", f"{profile.distribution} {version} at {binary}")


async def connection(link: Link) -> Check:
    """The server, and how far it is."""
    began = time.monotonic()
    await link.nc.flush(timeout=5)
    took = time.monotonic() - began
    v = link.nc.connected_server_version
    server = f"nats-server {v.major}.{v.minor}.{v.patch}"
    words = f"{link.options.safe_url}: {server}, {took * 1000:.1f} ms"
    if took > SLOW:
        return warn("connection", words, "the round trip is long: expect slow commands")
    return ok("connection", words)


async def jetstream(link: Link) -> Check:
    """Whether JetStream is there, and how full it is."""
    try:
        account = await link.js.account_info()
    except Exception as error:
        remedy = "start the server with -js, or enable JetStream for this account"
        return fail("jetstream", f"does not answer: {str(error) or type(error).__name__}", remedy)
    used, limit = account.storage, account.limits.max_storage
    words = f"{used / 2**20:.1f} MiB stored in {account.streams} streams"
    if limit > 0 and used > FULL * limit:
        remedy = "raise the account's storage, or delete old versions"
        return warn("jetstream", f"{words}, {used / limit:.0%} of what is allowed", remedy)
    return ok("jetstream", words)


def buckets(store: Store, missing: list[str]) -> Check:
    """Whether the namespace's buckets exist."""
    namespace = store.names.namespace
    if not missing:
        return ok("buckets", f"the 4 buckets of namespace {namespace} exist")
    if len(missing) == 4:
        words = f"namespace {namespace} has no buckets"
        return fail("buckets", words, "start a controller, or run `nexthos setup`")
    words = f"missing: {', '.join(missing)}; the others exist, so a controller changes nothing"
    return fail(
        "buckets",
        words,
        f"restore from a backup, or `nexthos setup`: {_made_empty(store, missing)}",
    )


def _made_empty(store: Store, missing: list[str]) -> str:
    """What it would mean to create them."""
    names = store.names
    meant = {
        names.pipelines: "no definition is left then, and what runs is orphaned, not stopped",
        names.configs: "what runs keeps its bytes, and nothing new starts until they are put again",
        names.status: "the controller writes it anew from what runs",
        names.control: "a new installation: executions of this one are left alone, and not seen",
    }
    return "; ".join(meant[name] for name in missing if name in meant)


async def events(store: Store) -> Check:
    """Whether what happens is kept."""
    stream = store.names.events
    if await store.has_events():
        return ok("events", f"stream {stream} exists")
    words = f"stream {stream} is missing: what happens is in the statuses only, and not kept"
    return warn("events", words, "`nexthos setup` creates it; nothing else depends on it")


async def room(store: Store) -> Check:
    """Whether the limits of the streams themselves leave room: beyond them writes are refused."""
    tight = []
    for stream in (
        b.stream for b in (store.pipelines, store.statuses, store.control, store.configs)
    ):
        info = await store.link.js.stream_info(stream)
        for what, used, limit in (
            ("bytes", info.state.bytes, info.config.max_bytes),
            ("messages", info.state.messages, info.config.max_msgs),
        ):
            if limit and limit > 0 and used > FULL * limit:
                tight.append(f"{stream}: {used} of {limit} {what}")
    if tight:
        remedy = (
            "raise them with `nats stream edit STREAM --max-bytes/--max-msgs`, or delete versions"
        )
        return warn("room", f"nearly full, then writes are refused: {'; '.join(tight)}", remedy)
    return ok("room", "the buckets are not near limits of their own")


async def settings(store: Store) -> Check:
    """Whether the buckets are as they must be: see `nexthos_shared.store.streams`."""
    differing = await store.differing()
    history = (await store.link.js.stream_info(store.pipelines.stream)).config.max_msgs_per_subject
    if differing:
        words = "; ".join(f"{s}: {', '.join(map(str, found))}" for s, found in differing.items())
        remedy = "`nexthos setup` puts them right and keeps what is stored"
        if any(d.setting == "allow_direct" for found in differing.values() for d in found):
            return fail("settings", words, remedy)  # nobody can read a key of it
        return warn("settings", words, remedy)
    if (history or 0) == 1:
        remedy = f"`nats stream edit {store.pipelines.stream} --max-msgs-per-subject 64`"
        return warn("settings", f"{store.pipelines.stream}: keeps no history", remedy)
    return ok("settings", f"direct gets, no rollup of keys, {history} revisions of each definition")


async def installation(store: Store) -> Check:
    """Whether the store says one thing about which store it is."""
    try:
        found = await store.stored_installation()
    except InstallationDiffers as error:
        return fail("installation", str(error), f"nexthos explain {error.problem.reason}")
    return ok("installation", found or "no controller has acted on this store yet")


async def messages(store: Store) -> Check:
    """Whether there is anything that every controller has to pass over."""
    await store.configs.list()
    skips = [str(skip) for skip in store.link.skips.last()]
    if skips:
        remedy = "put the configurations that are named again, or delete them; ask who wrote them"
        return warn("messages", f"passed over: {'; '.join(skips)}", remedy)
    return ok("messages", "the metas of all configurations can be read")


async def controller(app: App, link: Link) -> Check:
    """Whether somebody acts on what is stored."""
    from nexthos_cli.remote.request import ask
    from nexthos_shared.model import ControllerReply, StatusRequest

    try:
        reply = await ask(link, app.names, "status", StatusRequest(), ControllerReply, 4.0)
    except NotFound as error:
        if await _stands_by(app, link):
            words = "controllers run, and none of them acts: each only stands by"
            return fail("controller", words, "one takes over within seconds; else see their logs")
        remedy = "what is stored is safe; nothing starts or stops until one runs"
        return fail("controller", str(error), remedy)
    except NexthosError as error:
        return fail("controller", str(error), f"nexthos explain {error.problem.reason}")
    return judged(reply)


def judged(reply: ControllerReply) -> Check:
    """A controller's answer: a failure if it can't act on what is stored, or can't write statuses."""
    words = f"{reply.controller}, version {reply.version}, {reply.pipelines} pipelines"
    away = [e.name for e in reply.executors if not e.reachable]
    problems = [*reply.problems, *reply.risks]
    told = [f"executors not reachable: {', '.join(away)}"] * bool(away)
    told += [problem.message for problem in problems]
    if not told and reply.ready:
        return ok("controller", words)
    reasons = dict.fromkeys(problem.reason for problem in problems)
    remedy = "; ".join(f"nexthos explain {reason}" for reason in reasons) or "see `nexthos status`"
    can_act = reply.ready and Reason.STORE_REFUSED not in reasons
    judge = warn if can_act else fail
    return judge("controller", "; ".join([words, *(told or ["not ready"])]), remedy)


async def _stands_by(app: App, link: Link) -> bool:
    """Whether a controller answers the ping that every micro service answers."""
    from nats.errors import Error as NatsError

    try:
        await link.nc.request(f"$SRV.PING.{app.names.service}", b"", timeout=ANSWERS_WITHIN)
    except NatsError:
        return False
    return True


async def clock(store: Store) -> Check:
    """This clock against the server's, which stands in the answer of STREAM.INFO."""
    before = time.time()
    answer = await store.link.nc.request(
        f"{api_prefix(store.link)}.STREAM.INFO.{store.pipelines.stream}", b"", timeout=4
    )
    after = time.time()
    try:
        told = datetime.fromisoformat(
            str(json.loads(answer.data)["ts"])[:26].rstrip("Z") + "+00:00"
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return warn("clock", "the server does not tell its time", "nothing, if ages look right")
    skew = told.timestamp() - (before + after) / 2
    words = f"{abs(skew):.3f} s {'behind' if skew > 0 else 'ahead of'} the server"
    if abs(skew) > SKEW:
        return warn("clock", words, "set the clocks (NTP): ages and times shown here are off")
    return ok("clock", words)


def api_prefix(link: Link) -> str:
    """Where JetStream's API listens."""
    if link.options.jetstream_api_prefix:
        return link.options.jetstream_api_prefix
    domain = link.options.jetstream_domain
    return f"$JS.{domain}.API" if domain else "$JS.API"


async def permissions(link: Link, store: Store) -> Check:
    """Whether these credentials may do all that the commands do, as the server itself tells."""
    try:
        answer = await link.nc.request("$SYS.REQ.USER.INFO", b"", timeout=2)
        user = json.loads(answer.data)["data"]
    except Exception:
        words = "the server does not tell what these credentials may do"
        return warn("permissions", words, "nothing, if the commands work")
    allowed = (user.get("permissions") or {}).get("publish") or {}
    refused = [s for s in needed(link, store) if not may_publish(s, allowed)]
    if refused:
        remedy = "grant publish on them; see the table of permissions in the documentation"
        return warn("permissions", f"may not publish {', '.join(refused)}", remedy)
    who = user.get("user") or "this connection"
    return ok("permissions", f"{who} may read, write and watch the store, and ask the controller")


def needed(link: Link, store: Store) -> list[str]:
    """Subjects that stand for what the commands publish."""
    api = api_prefix(link)
    subjects = [store.names.endpoint("status")]
    for bucket in (store.pipelines, store.statuses, store.control, store.configs):
        subjects += [
            f"{api}.STREAM.INFO.{bucket.stream}",
            f"{api}.CONSUMER.CREATE.{bucket.stream}",
        ]
    for bucket in (store.pipelines, store.statuses, store.control):
        subjects.append(f"{api}.DIRECT.GET.{bucket.stream}.$KV.{bucket.name}.x")
    return [*subjects, f"$KV.{store.pipelines.name}.x", f"$O.{store.configs.name}.M.x"]


def may_publish(subject: str, permission: dict[str, Any]) -> bool:
    """NATS's rule: something allows it (or nothing is listed), and nothing denies it."""
    allow, deny = permission.get("allow") or [], permission.get("deny") or []
    allowed = not allow or any(covers(pattern, subject) for pattern in allow)
    return allowed and not any(covers(pattern, subject) for pattern in deny)


def covers(pattern: str, subject: str) -> bool:
    """Whether a subject with `*` and `>` matches one without."""
    wanted, given = pattern.split("."), subject.split(".")
    for n, token in enumerate(wanted):
        if token == ">":
            return len(given) > n
        if n >= len(given) or token not in ("*", given[n]):
            return False
    return len(wanted) == len(given)
