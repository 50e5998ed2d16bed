"""doctor: what of the store's faults can be seen from outside, each with what to do."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from nats.js.api import StreamSource

from nexthos_cli.doctor import store_checks as survey
from nexthos_shared.names import ABANDONED, LEASE_KEY, Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import KvEntry, Store
from nexthos_testing.nats import NatsServer

GOOD = {"status": "published", "version": "1"}
CONTROLLER = {
    "controller": "host-1",
    "version": "0.1.0",
    "namespace": "x",
    "installation": "abc",
    "started_at": 1.0,
    "ready": True,
    "store": "nats://x",
    "engine": "/engine",
    "pipelines": 2,
    "queued": 0,
}
CLAIM = {
    "holder": "host-1-abc",
    "host": "host-1",
    "since": time.time() - 49 * 3600,
    "ttl": 3.0,
    "life": "1",
}
LIMITED = "accounts {A: {jetstream: {max_file: 300K}, users: [{user: a, password: x}]}}"


def condition(kind, value, reason, message=""):
    return {"type": kind, "status": value, "reason": reason, "message": message}


def told(person, *args):
    """The lines of `doctor` by name, each with its remedy."""
    lines = person.types("doctor", *args).stdout.replace("\n      ->", " ->").splitlines()
    return {line[6:].partition(":")[0]: line for line in lines}


def remedied(line, *words):
    """Whether a line is no `ok` and says all of the words."""
    return not line.startswith("ok") and "->" in line and all(word in line for word in words)


@pytest.mark.parametrize(
    ("bucket", "meaning"),
    [
        ("pipelines", "what runs is orphaned, not stopped"),
        ("control", "a new installation"),
    ],
)
def test_a_missing_bucket_is_named_with_what_creating_it_would_mean(person, bucket, meaning):
    person.store(
        lambda store: store.link.js.delete_key_value(getattr(store.names, bucket)),
    )
    line = told(person)["buckets"]
    assert line.startswith("fail")
    assert remedied(line, f"missing: {person.namespace}-{bucket}", "`nexthos setup`", meaning)


def test_a_missing_stream_of_events_is_a_warning_and_setup_makes_it(person):
    person.store(lambda store: store.link.js.delete_stream(store.names.events))
    assert remedied(told(person)["events"], f"{person.namespace}-events is missing", "setup")
    out = person.does("setup").stdout
    assert f"stream/{person.namespace}-events created" in out
    assert out.count("exists") == 4
    assert told(person)["events"].startswith("ok")


def test_orphans_are_named_and_how_to_be_rid_of_them(person):
    assert told(person)["orphans"].startswith("ok")
    orphaned = [condition("Orphaned", "True", "Orphaned")]
    person.report("lost", "Unknown", revision=0, conditions=orphaned)
    line = told(person)["orphans"]
    assert remedied(line, "1 pipeline (lost) run without", "nexthos rm --orphans")


def test_a_bucket_that_went_back_is_told(person):
    person.put("a", GOOD)
    person.report("a", "Running")
    assert told(person)["revisions"].startswith("ok")
    person.report("b", "Running", revision=40)
    accepted = {"revision": 41, "spec_hash": "0", "digest": "sha256:0", "definition": GOOD}
    person.report("c", "Running", revision=0, memory={"current": accepted})
    line = told(person)["revisions"]
    assert remedied(line, "2 pipelines (b, c)", "has not reached (1)", "restored from a backup")


def test_changes_that_nobody_looked_at_are_told_once_they_are_old(person):
    person.put("a", GOOD)
    assert told(person)["behind"].startswith("ok")
    entries = [
        KvEntry("new", 1, b"{}", created=995.0),
        KvEntry("never", 2, b"{}", created=900.0),
        KvEntry("older", 3, b"{}", created=800.0),
        KvEntry("seen", 4, b"{}", created=700.0),
        KvEntry("strange", 5, b"{}", created=700.0),
        KvEntry("gone", 6, None, created=700.0),
        KvEntry("going", 7, None, created=700.0),
    ]
    statuses = [
        KvEntry("older", 1, b'{"phase": "Running", "observed_revision": 2}'),
        KvEntry("seen", 2, b'{"phase": "Running", "observed_revision": 4}'),
        KvEntry("strange", 3, b'{"phase": "Dancing"}'),
        KvEntry("going", 4, b'{"phase": "Stopping", "observed_revision": 7}'),
        KvEntry("gone", 5, None),
    ]
    check = survey.behind(entries, statuses, 1000.0)
    assert check.result == "fail"
    assert "changes of 3 pipelines (going, never, older), one for 5m" in check.message
    early = [e for e in entries if e.key in ("new", "never")]
    assert survey.behind(early, statuses, 930.0).result == "warn"
    seen = [e for e in entries if e.key not in ("going", "never", "older")]
    assert survey.behind(seen, statuses, 1000.0).result == "ok"


def execution(place):
    return {
        "name": "x",
        "uid": "1",
        "executor": "process",
        "place": place,
        "replica": 0,
        "spec_hash": "0",
        "state": "running",
    }


def test_places_that_do_not_answer_are_named_until_they_are_abandoned(person):
    silent = condition("Reachable", "False", "PlaceLost")
    person.put("a", GOOD)
    person.report("a", "Running", executions=[execution("m0")], executions_total=1)
    assert told(person)["places"].startswith("ok    places: none of 1 is out of reach")
    for key in ("b", "c"):
        person.put(key, GOOD)
        memory = {"places": [{"executor": "process", "place": "m1"}]}
        person.report(key, "Unknown", conditions=[silent], memory=memory)
    line = told(person)["places"]
    assert remedied(line, "m1: 2 pipelines (b, c) can't be seen", "nexthos abandon PLACE")
    person.does("abandon", "m1", "-y")
    assert "m1 is declared gone (by " in told(person)["places"]


def test_a_declaration_that_was_put_by_hand_counts(person):
    person.store(lambda store: store.control.put(f"{ABANDONED}m1", b"yes"))
    assert "m1 is declared gone (by somebody, 0s ago)" in told(person)["places"]


def test_what_runs_with_older_settings_is_counted(person):
    person.put("a", GOOD)
    older = condition("Outdated", "True", "Outdated", "engine 1")
    person.report("a", "Running", conditions=[older])
    assert remedied(told(person)["outdated"], "1 pipeline (a)", "nexthos rollout")


# ---- who acts


def hold(person, value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    person.store(lambda store: store.control.put(LEASE_KEY, raw))


def test_the_leader_is_told_where_a_controller_answers(person, controller):
    hold(person, CLAIM)
    with controller(lambda *_: None, status=lambda _: dict(CONTROLLER)):
        line = told(person)["leader"]
    assert line == "ok    leader: host-1-abc on host-1 has the lease, for 2d"


@pytest.mark.parametrize("value", [None, CLAIM | {"released": True}, b"by hand", b"[]"])
def test_a_lease_that_nobody_holds_is_told(person, controller, value):
    if value is not None:
        hold(person, value)
    with controller(lambda *_: None, status=lambda _: dict(CONTROLLER)):
        line = told(person)["leader"]
    assert remedied(line, "nobody holds the lease", "nexthos status")


def test_a_holder_that_does_not_answer_is_told(person):
    hold(person, CLAIM)
    lines = told(person)
    assert lines["controller"].startswith("fail")
    assert remedied(lines["leader"], "host-1-abc on host-1 has the lease", "does not answer")


def test_without_any_controller_one_line_says_so(person):
    lines = told(person)
    assert remedied(lines["controller"], "no controller", "what is stored is safe")
    assert "leader" not in lines


async def test_controllers_that_only_stand_by_are_told_from_none(person, nats_server):
    async with connect(ConnectOptions(nats_server.url), name="standby", daemon=False) as link:

        async def pong(message):
            await message.respond(b"{}")

        await link.nc.subscribe(f"$SRV.PING.{person.namespace}", cb=pong)
        await link.nc.flush()
        line = (await asyncio.to_thread(told, person))["controller"]
    assert line.startswith("fail")
    assert "controllers run, and none of them acts" in line


# ---- room


async def test_a_bucket_near_its_own_limit_is_named(person, store):
    config = (await store.link.js.stream_info(store.pipelines.stream)).config
    config.max_bytes = 20_000
    await store.link.js.update_stream(config)
    assert (await asyncio.to_thread(told, person))["room"].startswith("ok")
    await store.pipelines.put("a", b"x" * 19_000)
    line = (await asyncio.to_thread(told, person))["room"]
    assert remedied(line, f"{store.pipelines.stream}: 19", "of 20000 bytes", "nats stream edit")


async def test_an_account_near_its_limit_is_told(person, tmp_path):
    async with NatsServer(tmp_path / "limited", config=LIMITED) as server:
        person.env |= {"NATS_URL": server.url, "NATS_USER": "a", "NATS_PASSWORD": "x"}
        options = ConnectOptions(server.url, user="a", password="x")
        async with connect(options, name="test", daemon=False) as link:
            store = Store.of(link, Names(person.namespace))
            for bucket in (store.pipelines, store.statuses, store.control):
                await link.js.add_stream(name=bucket.stream, subjects=[f"$KV.{bucket.name}.>"])
            assert (await asyncio.to_thread(told, person))["jetstream"].startswith("ok")
            for key in ("a", "b", "c", "d"):
                await store.pipelines.put(key, b"x" * 70_000)
        line = (await asyncio.to_thread(told, person))["jetstream"]
    assert remedied(line, "% of what is allowed", "raise the account's storage")


# ---- settings of buckets that were made before, or by hand


async def by_hand(store, stream, **settings):
    """The stream anew, with other settings."""
    subject = f"$JS.API.STREAM.%s.{stream}"
    stored = (await store.link.js._api_request(subject % "INFO"))["config"]
    await store.link.js.delete_stream(stream)
    config = json.dumps({**stored, **settings}).encode()
    await store.link.js._api_request(subject % "CREATE", config)


OPEN: dict[str, dict[str, Any]] = {
    "pipelines": {"allow_rollup_hdrs": True},
    "status": {"allow_rollup_hdrs": True, "deny_delete": False},
    "control": {"allow_rollup_hdrs": True, "subject_delete_marker_ttl": 60_000_000_000},
    "configs": {"allow_direct": False, "max_age": 3_600_000_000_000},
    "events": {"allow_rollup_hdrs": True},
}


@pytest.mark.fault(96)
@pytest.mark.parametrize("kind", OPEN)
def test_settings_that_lay_a_bucket_open_are_told_and_setup_puts_them_right(person, kind):
    assert told(person)["settings"].startswith("ok")
    stream = {"configs": "OBJ_{}", "events": "{}"}.get(kind, "KV_{}").format(
        getattr(Names(person.namespace), kind)
    )
    person.store(lambda store: by_hand(store, stream, **OPEN[kind]))
    line = told(person)["settings"]
    for setting in OPEN[kind]:
        assert remedied(line, stream, f"{setting} is ", "`nexthos setup`")
    out = person.does("setup").stdout
    assert f"stream/{stream} changed: " in out
    for setting in OPEN[kind]:
        was = {"max_age": "3600s"}.get(setting, str(OPEN[kind][setting]).lower())
        assert f"{setting} {was} -> " in out
    assert "changed" not in person.does("setup").stdout
    assert told(person)["settings"].startswith("ok")


def test_one_setting_that_nats_does_not_take_back_keeps_no_other_bucket_from_being_put_right(
    person,
):
    names = Names(person.namespace)
    person.store(lambda store: by_hand(store, store.pipelines.stream, allow_msg_ttl=True))
    person.store(lambda store: by_hand(store, store.control.stream, allow_rollup_hdrs=True))
    done = person.types("setup")
    assert done.exit_code == 1
    assert f"stream/KV_{names.control} changed: allow_rollup_hdrs true -> false" in done.stdout
    assert f"change the settings of KV_{names.pipelines}" in done.stderr
    assert remedied(told(person)["settings"], "allow_msg_ttl is true, should be false")


@pytest.mark.fault(112)
def test_what_a_controllers_settings_leave_open_is_told_with_what_to_do(person, controller):
    risk = {"reason": "EnginesAsRoot", "message": "engines run as root", "field": "engine_user"}
    with controller(lambda *_: None, status=lambda _: {**CONTROLLER, "risks": [risk]}):
        line = told(person)["controller"]
    assert line.startswith("warn")
    assert remedied(line, "engines run as root", "nexthos explain EnginesAsRoot")


@pytest.mark.fault(140)
@pytest.mark.parametrize("kind", ["pipelines", "status", "configs"])
def test_a_mirror_is_no_bucket_of_a_namespace_and_is_named(person, kind):
    """A leaf node may have one of the hub's bucket: what is read in it has the hub's subjects."""

    async def mirrored(store: Store) -> None:
        bucket = getattr(store.names, kind)
        stream = f"OBJ_{bucket}" if kind == "configs" else f"KV_{bucket}"
        await store.link.js.delete_stream(stream)
        await store.link.js.add_stream(
            name=f"KV_origin-{bucket}", subjects=[f"$KV.origin-{bucket}.>"]
        )
        await store.link.js.add_stream(
            name=stream, mirror=StreamSource(name=f"KV_origin-{bucket}"), allow_direct=True
        )

    person.put("a", GOOD)
    person.store(mirrored)
    for args in (["ls"], ["doctor"], ["setup"]):
        done = person.types(*args)
        assert done.exit_code == 1
        assert "is a mirror of KV_origin" in done.stdout + done.stderr
