"""The engine's lint of manifests, in the environment that their engines will get.

Comes in: manifests, how NATS is reached. Goes out: problems at their places, and notes on what could
not be checked from here: a missing engine stops nobody, the controller lints again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nexthos_shared.errors import EngineMissing
from nexthos_shared.manifest.manifest import Manifest
from nexthos_shared.reasons import Problem, Reason

if TYPE_CHECKING:
    from nexthos_shared.nats.connection import ConnectOptions


@dataclass(slots=True)
class Checked:
    """Problems by manifest (in order), what is odd and no problem, and what was not checked."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)  # positions of the manifests that failed


async def check(
    manifests: Iterable[Manifest], options: ConnectOptions, *, engine: Path | None = None
) -> Checked:
    """Lint the configuration of each, as many at once as there are processors."""
    from nexthos_shared.engine import locate_engine

    checked = Checked()
    with_content = [(n, m) for n, m in enumerate(manifests) if m.content is not None]
    if not with_content:
        return checked
    checked.warnings = await asyncio.to_thread(_all_warnings, [m for _, m in with_content], options)
    try:
        binary = engine or locate_engine()
    except EngineMissing as error:
        checked.notes.append(f"not linted here: {error}")
        return checked
    bound = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(manifest: Manifest) -> list[Problem]:
        async with bound:
            return await _lint(binary, manifest, options)

    found = await asyncio.gather(*(one(m) for _, m in with_content))
    for (number, manifest), problems in zip(with_content, found, strict=True):
        _sort(number, manifest, problems, checked)
    return checked


def _all_warnings(manifests: Sequence[Manifest], options: ConnectOptions) -> list[Problem]:
    """What will run, and perhaps not as it is meant. Blocks: a second for 128 KiB."""
    from nexthos_shared.engine.doubts import Where, doubts

    found = list(_warnings(manifests))
    for manifest in manifests:
        where = Where(
            executor=str(manifest.fields.get("executor") or "process"),
            workdir=bool((manifest.fields.get("executor_options") or {}).get("workdir")),
            replicas=manifest.fields.get("replicas") or 1,
        )
        environment = _environment(manifest, options)
        told = doubts(manifest.content or b"", environment, where)
        told += _missing_files(manifest, environment, where.executor)
        found += [manifest.placed(problem) for problem in told]
    return found


def _missing_files(manifest: Manifest, env: Mapping[str, str], executor: str) -> Iterator[Problem]:
    """Files that are not on this machine; a container has others, and is not judged."""
    from nexthos_shared.engine.doubts import files_read

    if executor == "docker":
        return
    workdir = (manifest.fields.get("executor_options") or {}).get("workdir")
    for path, problem in files_read(manifest.content or b"", env):
        start = (
            workdir if isinstance(workdir, str) else os.devnull
        )  # a new execution's folder is empty
        if not os.path.exists(os.path.join(start, path)):
            yield problem


def _warnings(manifests: Iterable[Manifest]) -> Iterator[Problem]:
    """What will run, and perhaps not as it is meant."""
    from nexthos_shared.engine import read_shape

    for manifest in manifests:
        if manifest.content is None:
            continue
        shape = read_shape(manifest.content)
        if shape.dynamic_input:
            words = (
                "has a `dynamic` input, which the engine never calls connected: whether it is ready can "
                "only be told from its log, so an update of it is never rolled back for want of it"
            )
            yield manifest.problem(Reason.READINESS_UNKNOWN, words, "config")
        if shape.finite_input and manifest.fields.get("lifecycle") != "job":
            words = (
                "is `service`, and the input is known to end: each end counts as one, and it is started "
                "again; write `lifecycle: job` in a manifest if it is meant to end"
            )
            yield manifest.problem(Reason.FINITE_INPUT, words, "lifecycle")


def _sort(number: int, manifest: Manifest, problems: list[Problem], checked: Checked) -> None:
    for problem in problems:
        if problem.reason is Reason.NOT_LINTED:
            checked.notes.append(f"pipeline/{manifest.id}: not linted here: {problem.message}")
        else:
            checked.problems.append(manifest.placed(problem))
            checked.failed.add(number)


def _environment(manifest: Manifest, options: ConnectOptions) -> dict[str, str]:
    """What its engine will get, as far as it is known here."""
    from nexthos_shared import engine

    return engine.environment(
        nats_url=options.safe_url,
        nats_creds=options.creds,
        pipeline=manifest.id,
        version=str(manifest.fields.get("version") or ""),
        replica=0,
        env=manifest.fields.get("env") or {},
        base=os.environ,
    )


async def _lint(binary: Path, manifest: Manifest, options: ConnectOptions) -> list[Problem]:
    from nexthos_shared import engine

    env = _environment(manifest, options)
    assert manifest.content is not None
    refused = await asyncio.to_thread(_refused, manifest, manifest.content, env)
    name = manifest.fields.get("engine") or "default"
    if name != "default":
        words = f"engine {name!r} is the controller's; it lints before it starts anything"
        seen = await engine.refused(manifest.content, env, file=manifest.config_file)
        return [*seen, *refused, Problem(Reason.NOT_LINTED, words)]
    workdir = (manifest.fields.get("executor_options") or {}).get("workdir")
    found = await engine.lint(
        binary,
        manifest.content,
        env,
        file=manifest.config_file,
        workdir=Path(workdir) if isinstance(workdir, str) and os.path.isdir(workdir) else None,
    )
    told = {(p.reason, p.field) for p in found}
    return found + [p for p in refused if (p.reason, p.field) not in told]


def _refused(manifest: Manifest, content: bytes, env: Mapping[str, str]) -> list[Problem]:
    """What the executor that the manifest names can't do, as far as it is known without asking it."""
    if manifest.fields.get("executor") != "streams":
        return []
    from nexthos_controller.embedded import stream_refusals

    options, limits = manifest.fields.get("executor_options"), manifest.fields.get("resources")
    fields = stream_refusals.of_fields(
        options if isinstance(options, Mapping) else (),
        [k for k, v in limits.items() if v is not None] if isinstance(limits, Mapping) else (),
    )
    file = manifest.config_file
    return fields + [replace(p, file=file) for p in stream_refusals.of_bytes(content, env)]
