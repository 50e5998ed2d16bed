"""What users, administrators and bad days do to the store."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from nexthos_shared.errors import StoreUnavailable
from nexthos_shared.store import KvEntry
from nexthos_testing.machine.rules import KEYS, STEADY, Grounded, keys, numbers
from nexthos_testing.machine.store import gone
from nexthos_testing.machine.world import BAD

CONTENT = {"1": b"input: {one: {}}\n", "2": b"input: {two: {}}\n", "bad": BAD}
CHANGES: tuple[dict[str, Any], ...] = (
    {"version": "1"},
    {"version": "2"},
    {"env": {"A": "1"}},
    {"env": {}},
    {"replicas": 2},
    {"replicas": 1},
    {"update": {"strategy": "rolling"}},
    {"update": {"strategy": "recreate"}},
    {"update": {"rollback": False}},
    {"executor": "docker"},
    {"executor": "process"},
    {"executor": None},
    {"name": "another"},
    {"name": ""},
    {"restart_nonce": 1},
)
REFUSED: tuple[dict[str, Any], ...] = (
    {"version": "bad"},
    {"version": "none"},
    {"version": "2", "digest": "sha256:" + "0" * 64},
    {"executor": "kubernetes"},
    {"resources": {"cpu": 1.0}},
    {"no_such_field": 1},
    {"replicas": 0},
    {"status": "on"},
    {"status": None},
)
JOB = {"lifecycle": "job", "retries": 1, "replicas": 1}
SERVICE = {"lifecycle": "service"}
DEFINITIONS: tuple[dict[str, Any], ...] = (
    {},
    {"update": {"strategy": "rolling"}},
    {"replicas": 2, "update": {"strategy": "rolling"}},
    {"replicas": 2},
    {"executor": "docker"},
    JOB,
)
seen = st.sampled_from([True, True, True, False])  # whether the watch brings it, or only a resync


class StoreRules(Grounded):
    """Rules about the store."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[str, dict[str, Any]] = {key: {} for key in KEYS}

    def begin_with_a_full_store(self, definitions: tuple[dict[str, Any], ...]) -> None:
        """Two pipelines run, and one beside them."""
        for key in (*KEYS, STEADY):
            for version, content in CONTENT.items():
                self.do(self._store(key, version, content))
        self.do(self.acting.start())
        usual = {"status": "published", "version": "1", "stop_timeout": "5s"}
        for key, definition in zip((*KEYS, STEADY), (*definitions, {}), strict=True):
            self.put(key, {**usual, **definition})
        self.ground.judge.undisturbed = STEADY

    def put(self, key: str, value: dict[str, Any], *, seen: bool = True) -> None:
        """Store an entry; what is None is left out."""
        if key in self.wanted:
            self.wanted[key] = value
        there = {k: v for k, v in value.items() if v is not None}
        self.do(self._write(key, json.dumps(there).encode(), seen))

    async def _write(self, key: str, value: bytes | None, seen: bool) -> None:
        pipelines = self.ground.pipelines
        if value is None:
            await pipelines.delete(key)
        else:
            await pipelines.put(key, value)
        entry = await pipelines.get(key)
        assert entry is not None
        if seen:
            await self._tell("pipelines", entry)

    async def _tell(self, bucket: str, entry: KvEntry) -> None:
        for acting in (self.acting, *self.zombies):
            if not acting.dead:
                await acting.sees(bucket, entry)

    async def _store(
        self, key: str, version: str, content: bytes | None, seen: bool = True
    ) -> None:
        before = await self.ground.configs.info(key, version)
        if content is None:
            await self.ground.configs.delete(key, version)
        else:
            await self.ground.configs.put(key, version, content)
        self.ground.chronicle.stored(key, version, content, self.ground.now())
        now = await self.ground.configs.info(key, version)
        info = now or (gone(before) if before else None)
        for acting in (self.acting, *self.zombies):
            if info is not None and seen and not acting.dead:
                acting.sees_config(info)

    # ---- definitions

    @rule(key=keys, change=st.sampled_from(CHANGES), seen=seen)
    def change(self, key: str, change: dict[str, Any], seen: bool) -> None:
        self.put(key, {**self.wanted[key], "status": "published", **change}, seen=seen)

    @rule(key=keys, seen=seen)
    def change_the_version(self, key: str, seen: bool) -> None:
        other = "1" if self.wanted[key].get("version") == "2" else "2"
        new = {**self.wanted[key], "status": "published", "version": other}
        self.put(key, new, seen=seen)

    @rule(key=keys, job=st.booleans())
    def make_it_a_job_or_a_service(self, key: str, job: bool) -> None:
        self.put(key, {**self.wanted[key], **(JOB if job else SERVICE)})

    @rule(key=keys, seen=seen)
    def pause(self, key: str, seen: bool) -> None:
        self.put(key, {**self.wanted[key], "status": "paused"}, seen=seen)

    @rule(key=keys, seen=seen)
    def publish(self, key: str, seen: bool) -> None:
        self.put(key, {**self.wanted[key], "status": "published"}, seen=seen)

    @rule(key=keys, seen=seen)
    def draft(self, key: str, seen: bool) -> None:
        self.put(key, {**self.wanted[key], "status": "draft"}, seen=seen)

    @rule(key=keys, seen=seen)
    def delete(self, key: str, seen: bool) -> None:
        self.do(self._write(key, None, seen))

    @rule(key=keys, refused=st.sampled_from(REFUSED))
    def put_something_invalid(self, key: str, refused: dict[str, Any]) -> None:
        kept = self.wanted[key]
        self.put(key, {**kept, **refused})
        self.wanted[key] = kept

    @rule(key=keys)
    def begin_anew_with_something_invalid(self, key: str) -> None:
        self.delete(key, True)
        self.put_something_invalid(key, {"version": "bad"})

    @rule(
        key=keys, value=st.sampled_from([b"", b"nonsense", b"[]", b'{"status": "paused", "x": 1}'])
    )
    def put_bytes(self, key: str, value: bytes) -> None:
        self.do(self._write(key, value, True))

    @rule(value=st.sampled_from([b"nonsense", b'{"status": "published", "version": "1"}', None]))
    def write_under_no_id(self, value: bytes | None) -> None:
        self.do(self._write("No_Id", value, True))

    # ---- objects

    @rule(key=keys, version=st.sampled_from(["1", "2"]), seen=seen)
    def overwrite_an_object(self, key: str, version: str, seen: bool) -> None:
        self.do(self._store(key, version, CONTENT[version] + b"# other\n", seen))

    @rule(key=keys, version=st.sampled_from(["1", "2"]), seen=seen)
    def remove_an_object(self, key: str, version: str, seen: bool) -> None:
        self.do(self._store(key, version, None, seen))

    @rule(key=keys, version=st.sampled_from(["1", "2"]))
    def put_an_object_back(self, key: str, version: str) -> None:
        self.do(self._store(key, version, CONTENT[version]))

    # ---- bad days

    @rule(back=numbers, missing=st.sampled_from([None, *KEYS, "all"]), seen=st.booleans())
    def restore_a_backup(self, back: int, missing: str | None, seen: bool) -> None:
        """An older state of every key, of all but one, or of none, in a bucket that counts anew."""
        old: dict[str, bytes | None] = {}
        for key in (*KEYS, STEADY):
            history = self.ground.loop.run_until_complete(self.ground.pipelines.history(key))
            if history and missing not in (key, "all"):
                old[key] = history[max(len(history) - 1 - back, 0)].value
        self.ground.pipelines.make_anew()
        for key, value in old.items():
            self.do(self._write(key, value, False))
        if seen:
            self.resync()

    @precondition(lambda self: self.ground.all_places_answer)
    @rule(
        key=keys,
        value=st.sampled_from([None, None, b"nonsense", b"{}", b""]),
        every=st.booleans(),
        seen=st.booleans(),
    )
    def lose_or_overwrite_statuses(
        self, key: str, value: bytes | None, every: bool, seen: bool
    ) -> None:
        """A controller that lives has them in its hands; one that comes next has not."""
        if every:
            self.ground.statuses.make_anew()
            self.ground.chronicle.forgotten |= {*KEYS, STEADY}
        else:
            self.do(self._damage(key, value, seen))

    async def _damage(self, key: str, value: bytes | None, seen: bool) -> None:
        statuses = self.ground.statuses
        self.ground.chronicle.forgotten.add(key)
        before, statuses.refuses, statuses.loses = (statuses.refuses, statuses.loses), [], []
        await (statuses.delete(key) if value is None else statuses.put(key, value))
        statuses.refuses, statuses.loses = before
        entry = await statuses.get(key)
        if seen and entry is not None:
            await self._tell("statuses", entry)

    @precondition(lambda self: not self.ground.statuses.refuses)
    @rule(times=st.integers(1, 4), written=st.booleans())
    def writes_fail(self, times: int, written: bool) -> None:
        """Some writes of statuses have no answer, whether they are made or not."""
        errors = [StoreUnavailable("no answer") for _ in range(times)]
        statuses = self.ground.statuses
        if written:
            statuses.loses.extend(errors)
        else:
            statuses.refuses.extend(errors)

    def resync(self) -> None:
        """Every controller reads everything once more."""
        for acting in (self.acting, *self.zombies):
            if not acting.dead:
                self.do(acting.resync())
