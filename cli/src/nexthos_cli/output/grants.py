"""How rights are written down: as a user of a NATS server's configuration file, or as a command.

Comes in: `Rights`, and how the user proves who it is. Goes out: text to paste. Every subject stands in
quotes: a `$` that the shell, or the reader of a configuration, takes for a variable leaves a right to
something else.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from nexthos_shared.errors import SettingsError
from nexthos_shared.nats.rights import Rights

PLACEHOLDER = "change-me"


def as_conf(rights: Rights, *, password: str = "", nkey: str = "") -> str:
    """An element of `users: [...]` in a server's configuration. Raises SettingsError."""
    proof = (
        f"nkey: {_quoted(nkey)}"
        if nkey
        else f"user: {_quoted(rights.user)}, password: {_quoted(password or PLACEHOLDER)}"
    )
    lines = [
        "{",
        f"  {proof}",
        "  permissions: {",
        "    publish: {allow: [",
        *(f"      {_quoted(subject)}" for subject in rights.publish),
        "    ]}",
        "    subscribe: {allow: [",
        *(f"      {_quoted(subject)}" for subject in rights.subscribe),
        "    ]}",
        "  }",
        "}",
    ]
    return "\n".join(lines)


def as_command(rights: Rights) -> str:
    """`nats auth user add`, for an operator's accounts; the account is asked for."""
    flags = [
        "--defaults",
        *_flags("--pub-allow", rights.publish),
        *_flags("--sub-allow", rights.subscribe),
    ]
    command = f"nats auth user add {shlex.quote(rights.user)}"
    return " \\\n  ".join([command, *flags])


def _flags(name: str, subjects: Iterable[str]) -> list[str]:
    return [f"{name}={shlex.quote(subject)}" for subject in subjects]


def _quoted(text: str) -> str:
    # The configuration's own escapes would be one more language: what needs them is refused.
    if not text.isprintable() or '"' in text or "\\" in text:
        raise SettingsError(
            "a password or key must have no quotes, backslashes or control characters"
        )
    return f'"{text}"'
