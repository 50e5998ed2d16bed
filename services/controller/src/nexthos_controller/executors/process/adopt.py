"""After a restart, or after a hand in the folder: what is stored and what runs, brought together.

Comes in: /proc, and a folder's handle as far as it can be read. Goes out: the handle as it should be, and
twins, if more than one runs under a name. What runs tells by its argv whose it is, so neither a damaged
handle nor a crash between spawning and noting the PID loses or doubles a process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from nexthos_controller.execution import Owner, Stranger
from nexthos_controller.executors.local.processes import argv_of, boot_id, is_ours, leads, processes
from nexthos_controller.executors.local.shim import EXIT, noted
from nexthos_controller.executors.process.handle import CONFIG, Handle, Life
from nexthos_controller.executors.process.shim import folder_of, shim_of, told_by
from nexthos_shared.process.engine_user import EngineUsers


@dataclass(frozen=True, slots=True)
class Found:
    """What runs below a root."""

    shims: dict[str, list[Handle]] = field(default_factory=dict)  # by name, the oldest first
    engines: dict[str, int] = field(default_factory=dict)  # session of an engine, by name


def look(root: Path, owner: Owner, users: EngineUsers | None) -> Found:
    """One pass over /proc. Blocks for some 30 µs a process."""
    found = Found()
    for one in processes():
        if one.dead or not (argv := argv_of(one.pid)):
            continue
        if one.pid == one.session and (handle := shim_of(one, argv, owner)) is not None:
            if not is_ours(one.pid, users, _given_to(root / handle.name)):
                continue  # everybody may give a program of his own the same command line
            found.shims.setdefault(handle.name, []).append(handle)
        elif (name := _configured(argv, root)) is not None and is_ours(
            one.pid, users, _given_to(root / name)
        ):
            found.engines.setdefault(name, one.session)
    for shims in found.shims.values():
        shims.sort(key=lambda h: h.life.ticks if h.life else 0)
    return found


def strangers(owner: Owner, users: EngineUsers | None) -> frozenset[Stranger]:
    """What runs of that namespace and another installation, wherever its folder is. Blocks as `look`."""
    found = set()
    for one in processes():
        if one.dead or one.pid != one.session:
            continue
        argv = argv_of(one.pid)
        handle = told_by(argv)
        if handle is None or not differs(handle.owner, owner):
            continue
        if is_ours(one.pid, users, _given_to(folder_of(argv))):
            found.add(Stranger(handle.owner.installation, handle.id))
    return frozenset(found)


def differs(other: Owner, owner: Owner) -> bool:
    """Whether it is another installation of the same namespace."""
    return other.namespace == owner.namespace and other.installation != owner.installation


def _given_to(folder: Path) -> set[int]:
    """The user that an engine there ran as when it was started."""
    with suppress(OSError):
        return {(folder / CONFIG).stat().st_uid}
    return set()


def _configured(argv: list[bytes], root: Path) -> str | None:
    """The name of the execution whose configuration stands in `argv`."""
    for part in argv:
        if part.endswith(CONFIG.encode()):
            path = Path(os.fsdecode(part))
            if path.name == CONFIG and path.parent.parent == root:
                return path.parent.name
    return None


def together(
    handle: Handle | None, folder: Path, found: Found
) -> tuple[Handle | None, list[Handle]]:
    """The handle as it should be, if anything is known; and what else runs under that name."""
    shims = list(found.shims.get(folder.name, ()))
    if handle is None:
        if not shims:
            return None, []
        handle = shims[0]
    if handle.spawning is not None:
        handle = replace(handle, life=_spawned(handle, folder, shims), spawning=None)
    elif handle.life is None:
        handle = replace(handle, life=_unnoted(handle, folder, shims, found))
    elif shims and handle.session is not None and not leads(handle.session):
        handle = replace(handle, life=shims[0].life)  # an old handle was put back
    return handle, [s for s in shims if s.life is not None and not _same(s.life, handle.life)]


def _same(one: Life, other: Life | None) -> bool:
    return other is not None and (one.pid, one.ticks) == (other.pid, other.ticks)


def _begun(life: Life) -> tuple[int, float]:
    return life.port, life.started_at  # two of one name never have both alike


def _spawned(handle: Handle, folder: Path, shims: list[Handle]) -> Life | None:
    """What became of a spawn whose PID was never noted: it runs, it has ended, or it never was."""
    spawning = handle.spawning
    assert spawning is not None
    for shim in shims:
        if (life := shim.life) is not None and _begun(life) == _begun(spawning):
            return replace(life, token=spawning.token)
    if (note := noted(folder)) is not None:  # an earlier life's note is deleted before the spawn
        return replace(spawning, pid=note.pid)
    return handle.life


def _unnoted(handle: Handle, folder: Path, shims: list[Handle], found: Found) -> Life | None:
    """A life of which the handle knows nothing, because it is the copy made when it was prepared."""
    if shims:
        return shims[0].life
    if (session := found.engines.get(handle.name)) is not None:
        return _unknown_life(session, folder)  # its shim was killed, or we would have found that
    if (note := noted(folder)) is not None:
        return _unknown_life(note.pid, folder)
    return None


def _unknown_life(pid: int, folder: Path) -> Life:
    """A life of which no more is known; without a port, it is not probed."""
    try:
        when = (folder / EXIT).stat().st_mtime
    except OSError:
        when = folder.stat().st_mtime
    return Life(pid, 0, boot_id(), port=0, token="", started_at=when, log_offset=0)
