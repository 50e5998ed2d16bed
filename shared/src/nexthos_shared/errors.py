"""Every error that crosses a room's door, and the one question it answers: try again or tell the user?

    NexthosError                      has `reason` (a row of reasons.py) and a message that names the thing
    ├── TemporaryError                looking again later may succeed; the caller backs off and retries
    │   ├── StoreUnavailable          NATS or JetStream did not answer, or not in time
    │   ├── StoreMissing              a bucket that must exist does not
    │   ├── StoreConflict             a compare-and-set lost: re-read and retry
    │   ├── LeaseLost                 this controller may no longer act
    │   ├── ExecutorUnreachable       no place answered: nothing may be assumed
    │   ├── StillRunning              a stop or a remove found the execution alive
    │   ├── StartFailed               the platform refused this time (disk full, no memory)
    │   ├── ConfigUnavailable         the configuration can't be had right now
    │   └── TooManyRequests           all places for requests of this kind are taken
    └── TerminalError                 the same call fails the same way until somebody changes something
        ├── InvalidName               an id, version, namespace or key that breaks its rule
        ├── InvalidDefinition         a pipeline entry or manifest that can't be understood
        ├── InvalidConfig             a configuration that can't be run
        ├── ConfigMissing             the object does not exist (retried when it arrives)
        ├── ConfigChanged             the object exists, but not with the digest that is pinned
        ├── NotFound                  no such pipeline, execution or connection context
        ├── NameConflict              something that is not ours carries our name: never touched
        ├── CannotRunHere             the executor can't do what the spec asks
        ├── EngineMissing             no engine binary where one was promised
        ├── InstallationDiffers       the store says two things about which store it is
        ├── NotPermitted              NATS refused a subject, or refused the credentials
        └── SettingsError             a setting, connection context or environment variable is unusable

The first three are never raised bare by our own code: a test looks. What is raised by a
library is translated at the door of the room that called it, with `raise ... from`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from nexthos_shared.reasons import Problem, Reason


class NexthosError(Exception):
    """Base of all errors. `problem` carries reason, message and, if known, field, file, line, column."""

    reason: Reason = Reason.INTERNAL_ERROR

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        field: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = Problem(
            reason=reason or type(self).reason,
            message=message,
            field=field,
            file=file,
            line=line,
            column=column,
        )


class TemporaryError(NexthosError):
    """Looking again later may succeed."""

    reason = Reason.TEMPORARY


class StoreUnavailable(TemporaryError):
    """NATS or JetStream did not answer, or not in time. A write may still have been applied.

    `passes`: whether asking again soon can help, as it can while a server starts or a leader is elected.
    """

    reason = Reason.STORE_UNAVAILABLE
    passes = True

    @classmethod
    def lasting(cls, message: str) -> Self:
        """One that somebody must do something about."""
        error = cls(message)
        error.passes = False
        return error


class StoreRefused(StoreUnavailable):
    """A limit of a bucket refuses what was asked; the message names the command that raises it."""

    reason = Reason.STORE_REFUSED
    passes = False


class StoreMissing(TemporaryError):
    """A bucket that must exist does not; the message names it."""

    reason = Reason.STORE_MISSING


class StoreConflict(TemporaryError):
    """A compare-and-set lost against another writer."""

    reason = Reason.STORE_CONFLICT


class LeaseLost(TemporaryError):
    """This controller may no longer act: another one may, by now."""

    reason = Reason.LEASE_LOST


class ExecutorUnreachable(TemporaryError):
    """No place of the executor answered: what runs there is unknown."""

    reason = Reason.EXECUTOR_UNREACHABLE


class StillRunning(TemporaryError):
    """A stop or a remove found the execution alive."""

    reason = Reason.STILL_RUNNING


class StartFailed(TemporaryError):
    """The platform refused to start it this time."""

    reason = Reason.START_FAILED


class ConfigUnavailable(TemporaryError):
    """The configuration can't be had right now."""

    reason = Reason.CONFIG_UNAVAILABLE


class TooManyRequests(TemporaryError):
    """All places for requests of this kind are taken."""

    reason = Reason.TOO_MANY_REQUESTS


class TerminalError(NexthosError):
    """The same call fails the same way until somebody changes something."""


class InvalidName(TerminalError):
    """An id, version, namespace or key breaks its rule; the message states the rule."""

    reason = Reason.INVALID_NAME


class InvalidDefinition(TerminalError):
    """A pipeline entry or manifest can't be understood; `problem.field` names where."""

    reason = Reason.INVALID_DEFINITION


class InvalidConfig(TerminalError):
    """A configuration can't be run."""

    reason = Reason.LINT_FAILED


class ConfigMissing(TerminalError):
    """The configuration object does not exist. It wakes its pipeline when it arrives."""

    reason = Reason.CONFIG_MISSING


class ConfigChanged(TerminalError):
    """The configuration object does not have the digest that was pinned."""

    reason = Reason.CONFIG_CHANGED


class NotFound(TerminalError):
    """No such pipeline, execution or context."""

    reason = Reason.NOT_FOUND


class NameConflict(TerminalError):
    """Something that is not ours carries our name; it is never touched."""

    reason = Reason.NAME_CONFLICT


class CannotRunHere(TerminalError):
    """The executor can't do what the spec asks."""

    reason = Reason.CANNOT_RUN_HERE


class EngineMissing(TerminalError):
    """No engine binary where one was promised."""

    reason = Reason.ENGINE_MISSING


class InstallationDiffers(TerminalError):
    """The store says two things about which store it is; the message names both, and what to do."""

    reason = Reason.INSTALLATION_DIFFERS


class NotPermitted(TerminalError):
    """NATS refused a subject or the credentials; the message names the subject."""

    reason = Reason.NOT_PERMITTED


class SettingsError(TerminalError):
    """A setting, a connection context or an environment variable is unusable."""

    reason = Reason.INVALID_SETTINGS


class Refused(TerminalError):
    """Several things are wrong; each is told."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(p.message for p in problems), reason=problems[0].reason)
        self.problems = list(problems)
