"""The three words of `doctor`: what is looked at is well, worth knowing, or does not work."""

from __future__ import annotations

from nexthos_cli.output.models import Check


def ok(name: str, message: str) -> Check:
    """All is well."""
    return Check(name=name, result="ok", message=message)


def warn(name: str, message: str, remedy: str) -> Check:
    """It works, and somebody should know."""
    return Check(name=name, result="warn", message=message, remedy=remedy)


def fail(name: str, message: str, remedy: str) -> Check:
    """It does not work."""
    return Check(name=name, result="fail", message=message, remedy=remedy)
