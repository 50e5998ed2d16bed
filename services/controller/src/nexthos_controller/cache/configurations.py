"""What is known of configurations: stored objects, what lint and executors said of them, and their bytes.

Comes in: the objects' metas as the watch brings them. Goes out: `ConfigFacts` for deciding, verified
bytes for executors, lint results. Lint results are kept by spec hash and traits by digest: they
can't change, since the bytes of one digest don't.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nexthos_controller.cache.catalog import Catalog
from nexthos_controller.execution import Spec
from nexthos_controller.executors.contract import Executor
from nexthos_controller.executors.shared.imports import may_import, without_files
from nexthos_controller.reconcile import ConfigFacts
from nexthos_shared import engine
from nexthos_shared.errors import InvalidConfig, NexthosError
from nexthos_shared.model import Accepted, Traits
from nexthos_shared.names import ENV_NATS_URL
from nexthos_shared.object_format import MAX_CONFIG_BYTES
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.store import ConfigInfo, Configs

NATS_URL = f"${{{ENV_NATS_URL}".encode()
FETCHES = 4  # objects of several chunks that are read at a time
AT_ONCE = 0.25  # seconds for which a look waits in its place
LINTS_AS = -1  # the last of the users, whom no engine is that runs, if there are several
REMEMBERED = 20_000  # lint results and traits kept, the oldest go first

T = TypeVar("T")


class Facts:
    """Facts about the configurations of one namespace."""

    def __init__(self, configs: Configs, catalog: Catalog) -> None:
        self._configs = configs
        self._catalog = catalog
        self._infos: dict[tuple[str, str], ConfigInfo] = {}
        self._lints: OrderedDict[str, tuple[Problem, ...]] = OrderedDict()
        self._traits: OrderedDict[str, Traits] = OrderedDict()
        self._in_pieces = asyncio.Semaphore(FETCHES)
        # Entered while something long is waited for; the queue's, where there is one.
        self.yield_slot: Callable[[], AbstractAsyncContextManager[object]] = nullcontext

    @property
    def connections(self) -> Mapping[str, str]:
        """NATS URLs by the name of the connection."""
        return {name: c.url for name, c in self._catalog.connections.items()}

    def replace(self, infos: Iterable[ConfigInfo]) -> set[str]:
        """Take over a snapshot of all objects; returns the ids whose objects differ from before."""
        new = {(i.id, i.version): i for i in infos if not i.deleted}
        changed = {key[0] for key, info in new.items() if self._infos.get(key) != info}
        changed |= {key[0] for key in self._infos.keys() - new.keys()}
        self._infos = new
        return changed

    def change(self, info: ConfigInfo) -> None:
        """Take over one change of an object."""
        if info.deleted:
            self._infos.pop((info.id, info.version), None)
        else:
            self._infos[info.id, info.version] = info

    async def of(self, pipeline_id: str, version: str | None) -> ConfigFacts:
        """Facts about the object of that version. Never raises: what failed is a problem."""
        if version is None or (pipeline_id, version) in self._infos:
            return self.known(pipeline_id, version)
        try:  # the entry may be seen before the object's own event
            info = await self._configs.info(pipeline_id, version)
        except NexthosError as error:
            return ConfigFacts(problem=error.problem)
        return _of(info)

    def known(self, pipeline_id: str, version: str | None) -> ConfigFacts:
        """The same, as far as the watch has brought it."""
        return _of(self._infos.get((pipeline_id, version)) if version is not None else None)

    def has(self, pipeline_id: str, version: str, digest: str) -> bool:
        """Whether the bytes of that digest are still stored under that version."""
        info = self._infos.get((pipeline_id, version))
        return info is not None and info.digest == digest

    def lints(self) -> Mapping[str, tuple[Problem, ...]]:
        """What lint said, by spec hash."""
        return self._lints

    async def fetch(self, spec: Spec) -> bytes:
        """The verified bytes of the spec's digest. Raises as `Configs.get`, and InvalidConfig."""
        content = await self._fetch(spec)
        if engine.is_empty(content):  # an engine would end at once, or run without doing anything
            raise InvalidConfig(f"{spec.id}/{spec.definition.version}: {engine.EMPTY}")
        return content

    async def _fetch(self, spec: Spec) -> bytes:
        version = spec.definition.version or ""
        known = self._infos.get((spec.id, version))
        content = await self._patiently(self._get(spec, version, known))
        if spec.digest not in self._traits:
            # In a thread: 128 KiB of YAML take most of a second to parse.
            _keep(self._traits, spec.digest, await asyncio.to_thread(_traits_of, content))
        return content

    async def _get(self, spec: Spec, version: str, known: ConfigInfo | None) -> bytes:
        # One chunk is one question. What is in many pieces waits for others like it, not for all.
        in_pieces = known is None or known.chunks != 1
        async with self._in_pieces if in_pieces else nullcontext():
            return await self._configs.get(spec.id, version, digest=spec.digest, known=known)

    async def _patiently(self, fetching: Coroutine[Any, Any, bytes]) -> bytes:
        """What takes long is waited for aside: it must not keep other pipelines from being looked at."""
        task = asyncio.create_task(fetching)
        try:
            await asyncio.wait({task}, timeout=AT_ONCE)
            if not task.done():
                async with self.yield_slot():
                    await asyncio.wait({task})
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def lint(self, spec: Spec, executor: Executor) -> None:
        """Ask the engine that will run it, with the environment that it will get, and its executor."""
        content = await self._fetch(spec)
        file = f"{spec.id}/{spec.definition.version}"
        problems = await self._asked_of_the_engine(spec, content, file, here=executor.here)
        problems += [replace(p, file=file) for p in await executor.refusals(spec, content)]
        _keep(self._lints, spec.spec_hash, tuple(problems))

    async def _asked_of_the_engine(
        self, spec: Spec, content: bytes, file: str, *, here: bool
    ) -> list[Problem]:
        definition = spec.definition
        environment = self._catalog.environment(spec, replica=0)
        binary = self._catalog.engines.get(definition.engine)
        asked = binary is not None and here
        refused = [] if asked else await engine.refused(content, environment, file=file)
        if binary is None:
            words = f"engine {definition.engine!r} is only in an image: it is not asked beforehand"
            return [*refused, Problem(Reason.NOT_LINTED, words)]
        imports = await asyncio.to_thread(may_import, content, environment)
        if imports and not here:
            words = "a mapping may import a file, which is not on this machine: it is not asked beforehand"
            return [*refused, Problem(Reason.NOT_LINTED, words)]
        workdir = definition.executor_options.get("workdir")
        users = self._catalog.engine_users
        problems = await engine.lint(
            binary,
            content,
            environment,
            file=file,
            workdir=Path(workdir) if isinstance(workdir, str) else None,
            user=users.numbered(LINTS_AS) if users is not None else None,
        )
        return [without_files(problem) if imports else problem for problem in problems]

    def traits(self, accepted: Accepted | None) -> Traits | None:
        """What the bytes of `accepted` contain, if they were read here."""
        return self._traits.get(accepted.digest) if accepted is not None else None


def _traits_of(content: bytes) -> Traits:
    return Traits(
        uses_nats=NATS_URL in content,
        warnings=list(_warnings(engine.read_shape(content))),
        handled=list(engine.handled(content)),
    )


def _of(info: ConfigInfo | None) -> ConfigFacts:
    if info is None:
        return ConfigFacts()
    if info.refusal:
        return ConfigFacts(problem=Problem(Reason.CONFIG_DAMAGED, info.refusal))
    if info.size == 0:
        words = f"{info.id}/{info.version}: {engine.EMPTY}"
        return ConfigFacts(problem=Problem(Reason.LINT_FAILED, words))
    if info.size > MAX_CONFIG_BYTES:
        words = (
            f"configuration {info.id}/{info.version} has {info.size} bytes, at most "
            f"{MAX_CONFIG_BYTES} are allowed"
        )
        return ConfigFacts(problem=Problem(Reason.CONFIG_TOO_LARGE, words))
    return ConfigFacts(info.digest)


def _warnings(shape: engine.ConfigShape) -> Iterable[Problem]:
    if shape.finite_input:
        words = "its input is known to end, and a service runs for ever"
        yield Problem(Reason.FINITE_INPUT, words, field="lifecycle")
    if shape.dynamic_input:
        words = (
            "a `dynamic` input never counts as connected for the engine: whether it is ready is told "
            "from its log, and an update is not rolled back for it"
        )
        yield Problem(Reason.READINESS_UNKNOWN, words, field="input.dynamic")
    if not shape.scrapable:
        words = f"`metrics: {shape.names_metrics or '...'}` is not Prometheus: not read here"
        yield Problem(Reason.METRICS_NOT_SCRAPED, words, field="metrics")
    if shape.http_server_without_address:
        words = (
            "an http_server without `address` shares the engine's own HTTP server, which asks for a "
            "password: give it an `address` of its own, such as 0.0.0.0:8080"
        )
        yield Problem(Reason.SHARED_HTTP_ADDRESS, words, field="http_server.address")


def _keep(kept: OrderedDict[str, T], key: str, found: T) -> None:
    kept[key] = found
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)
