"""Who may publish and subscribe to what in NATS: the one table of rights, a role each.

Comes in: a namespace, and whom it is for. Goes out: `Rights`, subjects for NATS's allow lists; what is
not in them NATS refuses. Knows no configuration format, and asks no server.

Nothing in here is an `allow_responses`: nats-server lets a tracked reply pass whatever the lists say, so
whoever asks with the reply subject `$JS.API.STREAM.DELETE...` would have it sent with the rights of who
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nexthos_shared.errors import InvalidName
from nexthos_shared.names import (
    ABANDONED,
    INSTALLATION_KEY,
    LEASE_KEY,
    Names,
    check_id,
    runner_inbox,
)

API = "$JS.API"
INBOX = "_INBOX"
# Where answers go: to clients of this account, and through an account's import to those of another.
ANSWERS = (f"{INBOX}.>", "_R_.>")
# What the server answers about the user itself. Not for a viewer, who may send nothing that NATS answers.
OWN_RIGHTS = "$SYS.REQ.USER.INFO"
READING = ("status", "list", "usage", "logs")  # endpoints that change nothing


@dataclass(frozen=True, slots=True)
class Rights:
    """What a user may do; `words` says so to people, with what it can't be kept from."""

    user: str
    words: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom rights are asked for.

    `pipeline`: an id, or "" for all. `api`: what JetStream's subjects begin with, where there is a
    domain or a prefix. `inbox`: what this user's own inboxes begin with.
    """

    names: Names
    pipeline: str = ""
    api: str = API
    inbox: str = INBOX


def rights(role: str, asked: Asked) -> Rights:
    """The rights of a role. Raises InvalidName: no such role, or one that needs or takes no id."""
    if role not in ROLES:
        raise InvalidName(f"role {role!r}: there are {', '.join(ROLES)}")
    made, takes_id, needs_id = ROLES[role]
    if asked.pipeline and not takes_id:
        raise InvalidName(f"role {role}: it is for a namespace, and takes no pipeline id")
    if needs_id and not asked.pipeline:
        raise InvalidName(f"role {role}: it is for one pipeline, give its id")
    if asked.pipeline:
        check_id(asked.pipeline)
    for prefix in (asked.api, asked.inbox):
        _check_prefix(prefix)
    return made(asked)


def _check_prefix(prefix: str) -> None:
    tokens = prefix.split(".")
    # Some of them would also end the quotes of what is printed.
    if not all(tokens) or not prefix.isprintable() or any(c in prefix for c in " *>\"'\\"):
        raise InvalidName(f"prefix {prefix[:60]!r}: not the beginning of a subject")


def _controller(asked: Asked) -> Rights:
    """Reads everything of its namespace; writes statuses, its own keys, events and answers."""
    names = asked.names
    written = [
        f"$KV.{names.status}.>",
        f"$KV.{names.control}.{LEASE_KEY}",
        f"$KV.{names.control}.{INSTALLATION_KEY}",
        f"$KV.{names.control}.{ABANDONED}>",
        names.event_subject("*", "*"),
    ]
    made = [f"STREAM.CREATE.{stream}" for stream in _streams(names)]
    answers = dict.fromkeys((*ANSWERS, f"{asked.inbox}.>"))
    return Rights(
        user=f"{names.namespace}-controller",
        words="The controller of a namespace. It makes the buckets where there are none, and can't "
        "change, purge or delete one, nor write a definition or a configuration.",
        publish=(
            *_written(asked.api, written),
            *_asked_of(asked.api, *made, *_reading(names)),
            *_flow(names),
            *answers,
        ),
        subscribe=(f"{asked.inbox}.>", names.endpoint(">"), "$SRV.>"),
    )


def _runner(asked: Asked) -> Rights:
    """Asks for one configuration, and that is all."""
    names, key = asked.names, asked.pipeline
    return Rights(
        user=f"{names.namespace}-runner-{key}",
        words=f"The runner of {key}. It gets that pipeline's configuration from the controller.",
        publish=(names.endpoint(f"config.{key}"),),
        subscribe=(f"{runner_inbox(names.namespace, key)}.>",),
    )


def _viewer(asked: Asked) -> Rights:
    """Asks the endpoints that change nothing."""
    names = asked.names
    return Rights(
        user=f"{names.namespace}-viewer",
        words="Looks at pipelines and their logs by the service, and changes nothing.",
        publish=(*(names.endpoint(name) for name in READING), *_asking(names)),
        subscribe=(f"{asked.inbox}.>",),
    )


def _author(asked: Asked) -> Rights:
    """Stores definitions, of one pipeline or of all, and configurations."""
    names, key = asked.names, asked.pipeline
    objects = f"OBJ_{names.configs}"
    written = [
        f"$KV.{names.pipelines}.{key or '>'}",
        f"$O.{names.configs}.C.>",
        f"$O.{names.configs}.M.>",
    ]
    stored = (
        f"STREAM.MSG.GET.{objects}",  # whether there is such an object, as nats-py asks
        f"STREAM.PURGE.{objects}",  # of the chunks that a new version replaces
    )
    api = _asked_of(asked.api, *stored, *_reading(names))
    which = f"pipeline {key}" if key else "all pipelines"
    return Rights(
        user=f"{names.namespace}-author" + (f"-{key}" if key else ""),
        words=f"The author of {which}: stores definitions and configurations, and looks at the rest. "
        "Whoever may store one configuration may overwrite and erase all of them. "
        "In one account NATS sends answers wherever a request's reply subject says: who must be kept "
        "from other definitions gets an account of their own (docs/operations.md).",
        publish=(
            *_written(asked.api, written),
            *api,
            *_flow(names),
            names.endpoint("*"),
            *_asking(names),
            OWN_RIGHTS,
        ),
        subscribe=(f"{asked.inbox}.>",),
    )


def _streams(names: Names) -> tuple[str, ...]:
    buckets = (names.pipelines, names.status, names.control)
    return (*(f"KV_{bucket}" for bucket in buckets), f"OBJ_{names.configs}", names.events)


def _asking(names: Names) -> tuple[str, ...]:
    """What every micro service answers, asked of this one: whoever asks all has all of them answer."""
    return f"$SRV.*.{names.service}", f"$SRV.*.{names.service}.*"


def _reading(names: Names) -> Iterator[str]:
    """What binding, getting and watching takes, as nats-py does it. Objects have chunks, got by number."""
    for stream in _streams(names):
        yield f"STREAM.INFO.{stream}"
    for bucket in (names.pipelines, names.status, names.control):
        yield f"DIRECT.GET.KV_{bucket}.$KV.{bucket}.>"
    yield f"DIRECT.GET.OBJ_{names.configs}.$O.{names.configs}.>"
    yield f"DIRECT.GET.OBJ_{names.configs}"
    for stream in _streams(names):
        yield f"CONSUMER.CREATE.{stream}"
        yield f"CONSUMER.INFO.{stream}.*"
        yield f"CONSUMER.DELETE.{stream}.*"


def _asked_of(api: str, *verbs: str) -> Iterator[str]:
    """Subjects of JetStream's API. A server whose own the domain is compares without it."""
    for prefix in dict.fromkeys((API, api)):
        for verb in verbs:
            yield f"{prefix}.{verb}"


def _written(api: str, subjects: Iterable[str]) -> Iterator[str]:
    """What is written to. Values for buckets of another domain go behind the API's prefix."""
    for subject in subjects:
        yield subject
        if api != API and subject.startswith("$KV."):
            yield f"{api}.{subject}"


def _flow(names: Names) -> Iterator[str]:
    """Answers to the server, which asks how far who watches has come."""
    for stream in _streams(names):
        yield f"$JS.FC.{stream}.>"


# role: its rights, whether it takes a pipeline id, and whether it needs one
ROLES: dict[str, tuple[Callable[[Asked], Rights], bool, bool]] = {
    "controller": (_controller, False, False),
    "runner": (_runner, True, True),
    "viewer": (_viewer, False, False),
    "author": (_author, True, False),
}
