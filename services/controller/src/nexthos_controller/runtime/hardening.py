"""What this process denies to everybody else on its machine, engines that it starts included.

Comes in: settings. Goes out: a process that cannot be read, whose children gain no rights. Linux only; does
nothing elsewhere. Nothing here can be undone, so it is done once, at the start of a program.

A process that is not dumpable belongs to root in /proc: nobody else of the same user reads its environment,
its memory, its open files, or attaches to it. Children are not affected: whoever executes a program is
dumpable again. Its own /proc/self stays as it was, but for `environ`; it leaves no core either.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from nexthos_controller.settings import Settings
from nexthos_shared.errors import SettingsError
from nexthos_shared.nats import urls
from nexthos_shared.nats.options import ConnectOptions
from nexthos_shared.process.engine_user import EngineUsers
from nexthos_shared.reasons import Problem, Reason

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
# <linux/capability.h>: what must be there to start, end and clean up after another user's processes.
_NEEDED = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
SECRETS = ("NATS_PASSWORD", "NATS_TOKEN", "NATS_USER", "NATS_NKEY", "NATS_CREDS", "NATS_KEY")


def close_to_others() -> None:
    """Let nobody of the same user read this process, and no child have rights that it was not given.

    Capabilities that systemd gave (ambient ones) stay this process's own: a child of another user would
    keep them through setuid and exec.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)
        _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)


def forget_secrets(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take credentials out of the environment once they were read, so that no child inherits them."""
    for name in SECRETS:
        environ.pop(name, None)


def become_able(users: EngineUsers | None) -> None:
    """Check that engines can be started as `users`; none gains rights from now on. Raises SettingsError."""
    if users is None:
        return
    missing = [name for name, number in _NEEDED.items() if not _effective() >> number & 1]
    if missing:
        words = f"engine_user: starting engines as another user needs root, or {', '.join(missing)}"
        raise SettingsError(words, field="engine_user")
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def risks_of(settings: Settings, options: ConnectOptions) -> list[Problem]:
    """What these settings let authors of pipelines do that they need not be able to do."""
    risks = []
    here = {"process", "streams"} & {settings.executor, *settings.executors}
    if here and not settings.engine_user and os.geteuid() == 0:
        words = "engines run as root, as the controller does: who writes a pipeline is root here"
        risks.append(Problem(Reason.ENGINES_AS_ROOT, words, field="engine_user"))
    if options.creds is not None and "default" not in settings.connections:
        words = f"pipelines get the controller's own credentials ({options.creds}), and its rights"
        risks.append(Problem(Reason.CREDENTIALS_SHARED, words, field="connections.default"))
    withheld = _withheld(options)
    given = settings.connections.get("default")
    if withheld and (given is None or (given.creds is None and given.url == options.safe_url)):
        words = (
            f"the controller signs in to NATS with {withheld}, which pipelines are not given: what "
            "they connect to by ${NATS_URL} refuses them if it asks for it"
        )
        risks.append(Problem(Reason.CREDENTIALS_WITHHELD, words, field="connections.default"))
    return risks


def _withheld(options: ConnectOptions) -> str:
    """With what of its own the controller signs in that engines never get; empty if with nothing."""
    ways = {
        "a user and password": options.user or urls.has_credentials(options.url),
        "a token": options.token,
        "an nkey": options.nkey,
        "a client certificate": options.cert,
    }
    return " and ".join(way for way, used in ways.items() if used)


def _effective() -> int:
    """The effective capabilities; all of them where nobody can tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return -1
    return int(status.partition("CapEff:")[2].split(None, 1)[0], 16)


def _prctl(what: int, value: int) -> None:
    """An old kernel that knows no such thing is left as it is."""
    ctypes.CDLL(None).prctl(what, value, 0, 0, 0)
