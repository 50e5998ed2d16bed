"""Table A of architecture.md: what should be there, from the entry, the facts and the memory."""

from __future__ import annotations

from nexthos_controller.execution import Spec
from nexthos_controller.reconcile.view import Target, View
from nexthos_shared.model import Accepted, Pipeline, Wanted
from nexthos_shared.reasons import Problem, Reason


def aim(view: View) -> Target:
    """The target of this pipeline."""
    entry = view.entry
    if entry is None:
        return Target("leave")
    if entry.deleted:
        return Target("none")
    match entry.wanted:
        case Wanted.DRAFT:
            return Target("none")
        case Wanted.PAUSED:
            return _pause(view, entry.problem)
        case Wanted.PUBLISHED if entry.pipeline is not None:
            return _aim_at(view, entry.pipeline)
        case Wanted.PUBLISHED:
            return _accepted_before(view, entry.problem)
        case _:
            return _go_on(view, entry.problem)


def _go_on(view: View, problem: Problem | None) -> Target:
    """The status can't be read: what the last readable one wanted goes on unchanged."""
    if view.memory.wanted is Wanted.PUBLISHED:
        return _accepted_before(view, problem)
    if view.memory.wanted is Wanted.PAUSED:
        return _pause(view, problem)
    return Target("leave", refused=problem)


def _pause(view: View, refused: Problem | None) -> Target:
    """Nothing runs. A platform is told by the spec that it has, with no replicas."""
    wanted = view.entry.pipeline if view.entry else None
    current = view.memory.current
    if current is None and wanted is not None:
        current = _accepted_by_what_runs(view, wanted)
    if current is None or not view.workloads:
        return Target("keep", refused=refused)
    update = current.definition.update
    return Target("keep", _spec_of(view, current), 0, update, refused=refused)


def _accepted_before(view: View, refused: Problem | None, to_lint: Spec | None = None) -> Target:
    """A valid running version is never stopped by an invalid change."""
    current = view.memory.current
    if current is None:
        return Target("leave", refused=refused, to_lint=to_lint)
    definition = current.definition
    return Target(
        "run",
        _spec_of(view, current),
        definition.replicas,
        definition.update,
        refused=refused,
        to_lint=to_lint,
    )


def _aim_at(view: View, wanted: Pipeline) -> Target:
    current = view.memory.current or _accepted_by_what_runs(view, wanted)
    if (
        current
        and wanted.same_shape(current.definition)
        and wanted.digest in (None, current.digest)
    ):
        same = _spec_of(view, current)
        if cannot := _can_not_scale(view, wanted, current, same):
            return _accepted_before(view, cannot)
        return Target(
            "run", same, wanted.replicas, wanted.update, refused=_object_differs(view, current)
        )
    spec, refused = _candidate(view, wanted)
    if spec is None:
        return _accepted_before(view, refused)
    if refused is not None and current is None and _is_held(view, spec):
        # Only what was refused can be there: it was started to find out, and leaves no trace.
        return Target("none", refused=refused)
    if refused is not None:
        return _accepted_before(view, refused)
    if spec.spec_hash not in view.lints and (current is not None or not view.is_empty):
        return _accepted_before(view, None, to_lint=spec)
    return Target("run", spec, wanted.replicas, wanted.update)


def _can_not_scale(view: View, wanted: Pipeline, current: Accepted, spec: Spec) -> Problem | None:
    """Why these replicas can't be had. What runs is not judged anew by what the settings say today."""
    if wanted.replicas == current.definition.replicas:
        return None
    return next(iter(view.checks.get(spec.executor, ())), None)


def _accepted_by_what_runs(view: View, wanted: Pipeline) -> Accepted | None:
    """Rebuild lost memory: an execution of this very definition carries the digest it was given."""
    for execution in view.found:
        if wanted.spec_hash(execution.digest) == execution.spec_hash:
            return Accepted(
                revision=execution.revision,
                spec_hash=execution.spec_hash,
                digest=execution.digest,
                definition=wanted,
            )
    return None


def _candidate(view: View, wanted: Pipeline) -> tuple[Spec | None, Problem | None]:
    """The spec that the entry asks for, and why it may not be run."""
    version = wanted.version or ""
    if view.config.problem is not None:
        return None, view.config.problem
    digest = view.config.digest
    if digest is None:
        return None, Problem(
            Reason.CONFIG_MISSING,
            f"no configuration {view.key}/{version} is stored; it starts when the object arrives",
            field="version",
        )
    if wanted.digest not in (None, digest):
        return None, Problem(
            Reason.DIGEST_MISMATCH,
            f"configuration {view.key}/{version} has digest {digest}, the entry asks for "
            f"{wanted.digest}",
            field="digest",
        )
    executor = wanted.executor or _where_it_runs(view)
    spec = _spec(view, wanted, digest, executor)
    if executor not in view.checks:
        offered = ", ".join(sorted(view.checks)) or "none"
        return spec, Problem(
            Reason.UNKNOWN_EXECUTOR,
            f"executor: {executor!r} is not offered by this controller (offered: {offered})",
            field="executor",
        )
    refusals = [*view.checks[executor], *_linted(view, spec), *_held(view, spec)]
    return spec, refusals[0] if refusals else None


def _linted(view: View, spec: Spec) -> list[Problem]:
    problems = view.lints.get(spec.spec_hash, ())
    return [p for p in problems if p.reason is not Reason.NOT_LINTED]


def _held(view: View, spec: Spec) -> list[Problem]:
    held = view.memory.held
    return [held.problem] if held is not None and _is_held(view, spec) else []


def _is_held(view: View, spec: Spec) -> bool:
    return view.memory.held is not None and view.memory.held.spec_hash == spec.spec_hash


def _object_differs(view: View, current: Accepted) -> Problem | None:
    """The accepted bytes are pinned; what happened to the object since is only reported."""
    stored = f"configuration {view.key}/{current.definition.version}"
    if view.config.problem is not None:
        return None
    if view.config.digest is None:
        return Problem(
            Reason.CONFIG_MISSING, f"{stored} was removed; what runs has its own copy", "version"
        )
    if view.config.digest != current.digest:
        return Problem(
            Reason.CONFIG_CHANGED,
            f"{stored} was overwritten ({current.digest[:19]} -> {view.config.digest[:19]}); "
            "the bytes that were accepted run on: put changes under a new version",
            "version",
        )
    return None


def _where_it_runs(view: View) -> str:
    running = [w.executor for w in view.workloads if w.state != "deleting"]
    running += [e.executor for e in view.executions if e.state == "running"]
    slots = [s.executor for s in view.memory.slots.values() if s.executor]
    return next(iter([*running, *slots]), view.default_executor)


def _spec_of(view: View, accepted: Accepted) -> Spec:
    definition = accepted.definition
    executor = definition.executor or _where_it_runs(view)
    return Spec(
        view.key, accepted.revision, accepted.spec_hash, accepted.digest, executor, definition
    )


def _spec(view: View, wanted: Pipeline, digest: str, executor: str) -> Spec:
    revision = view.entry.revision if view.entry else 0
    return Spec(view.key, revision, wanted.spec_hash(digest), digest, executor, wanted)
