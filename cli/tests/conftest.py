"""A person at a terminal, a store, and a pretended controller that writes what a test has it say."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import pytest
import structlog
from click.testing import CliRunner, Result

from nexthos_cli.main import cli as command
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import KvEntry, Store
from nexthos_testing.nats import NatsServer

T = TypeVar("T")
NEXTHOS = Path(sys.executable).parent / "nexthos"
PLAIN = """\
input:
  generate: {mapping: 'root = "hello"', interval: 1s}
output:
  drop: {}
"""


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands that run in this process say what is logged, for all tests that follow in it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@dataclass
class Person:
    """Types commands, and may look into the store and write there as `nats` would."""

    url: str
    namespace: str
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def types(self, *args: str, input: str | bytes | None = None) -> Result:
        """Run a command here, in this process."""
        return CliRunner(env=self.env).invoke(command, list(args), input=input)

    def does(self, *args: str, input: str | bytes | None = None) -> Result:
        """The same for what must succeed."""
        result = self.types(*args, input=input)
        assert result.exit_code == 0, result.output
        return result

    def spawn(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """Run the real command as a process of its own."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(
            [NEXTHOS, *args], env={**os.environ, **self.env}, text=True, **options
        )

    def json(self, *args: str, schema: str, code: int = 0, input: str | None = None) -> Any:
        """The one JSON document of a command, which must match its schema."""
        result = self.types(*args, "-o", "json", input=input)
        assert result.exit_code == code, result.output
        document = json.loads(result.stdout)
        jsonschema.validate(document, json.loads(self.types("schema", schema).stdout))
        return document

    def file(self, name: str, text: str | bytes = PLAIN) -> str:
        """A file, by the name to type."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do something with the store."""

        async def run() -> T:
            async with connect(ConnectOptions(url=self.url), name="test", daemon=False) as link:
                return await work(await Store.open(link, Names(self.namespace), create=True))

        return asyncio.run(run())

    def stored(self, key: str) -> dict[str, Any] | None:
        """The entry as it is stored."""
        entry = self.store(lambda store: store.pipelines.get(key))
        return json.loads(entry.value) if entry and entry.value is not None else None

    def revision(self, key: str) -> int:
        entry = self.store(lambda store: store.pipelines.get(key))
        return entry.revision if entry else 0

    def put(self, key: str, value: Any) -> int:
        """`nats kv put`: JSON, or bytes as they are."""
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.store(lambda store: store.pipelines.put(key, raw))

    def report(self, key: str, phase: str, revision: int | None = None, **more: Any) -> None:
        """Write a status as a controller would."""
        seen = self.revision(key) if revision is None else revision
        value = json.dumps(status(phase, seen, **more)).encode()
        self.store(lambda store: store.statuses.put(key, value))


def status(phase: str, revision: int, **more: Any) -> dict[str, Any]:
    """A status report with what matters in the tests."""
    return {"phase": phase, "observed_revision": revision, "updated_at": 1.0, **more}


def condition(kind: str, value: str, reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": value, "reason": reason, "message": message, **more}


@pytest.fixture
def person(
    nats_server: NatsServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Person:
    """A person with an empty store in a namespace of their own."""
    for name in list(os.environ):
        if name.startswith(("NATS_", "NEXTHOS_")) and name != "NEXTHOS_ENGINE":
            monkeypatch.delenv(name)
    env = {
        "NATS_URL": nats_server.url,
        "NEXTHOS_NAMESPACE": namespace,
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    made = Person(nats_server.url, namespace, folder, env)
    made.store(_nothing)
    return made


async def _nothing(_: Store) -> None:
    return None


Says = Callable[[str, KvEntry], dict[str, Any] | None]
Answer = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Pretended:
    """What a pretended controller says: a status per entry (None: deletes it), an answer per request."""

    says: Says
    answers: dict[str, Answer] = field(default_factory=dict)


@pytest.fixture
def controller(person: Person) -> Callable[..., Any]:
    """`with controller(says, status=..., reconcile=...):` one runs, in a thread."""

    @contextmanager
    def run(says: Says, **answers: Answer) -> Iterator[None]:
        started: Future[None] = Future()
        stop = threading.Event()
        pretended = Pretended(says, answers)
        thread = threading.Thread(
            target=lambda: asyncio.run(_control(person, pretended, started, stop))
        )
        thread.start()
        try:
            started.result(timeout=10)
            yield
        finally:
            stop.set()
            thread.join(timeout=10)

    return run


async def _control(
    person: Person, pretended: Pretended, started: Future[None], stop: threading.Event
) -> None:
    async with connect(ConnectOptions(url=person.url), name="pretended", daemon=False) as link:
        store = await Store.open(link, Names(person.namespace), create=True)
        for endpoint, answer in pretended.answers.items():

            async def reply(message: Any, answer: Answer = answer) -> None:
                body = answer(json.loads(message.data or b"{}"))
                headers = body.pop("headers", None)
                await link.nc.publish(message.reply, json.dumps(body).encode(), headers=headers)

            await link.nc.subscribe(Names(person.namespace).endpoint(endpoint), cb=reply)
        await link.nc.flush()
        async with store.pipelines.feed(">") as feed:
            started.set_result(None)
            while not stop.is_set():
                try:
                    async with asyncio.timeout(0.05):
                        message = await feed.messages.get()
                except TimeoutError:
                    continue
                if message is not None:
                    await _say(store, pretended, store.pipelines.read(message))


async def _say(store: Store, pretended: Pretended, entry: KvEntry) -> None:
    told = pretended.says(entry.key, entry)
    if told is None:
        await store.statuses.delete(entry.key)
    else:
        await store.statuses.put(entry.key, json.dumps(told).encode())
