"""Controllers under test have no more rights than `nexthos auth controller` prints.

A server of the tests has such a user for each namespace that a test may be given, made by the function
behind that command. Whoever shows no credentials (tests, pipelines, people) may do anything there. What
a controller is refused fails the test: see `nothing_refused` in the fixtures.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from itertools import count

from nexthos_cli.output.grants import as_conf
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions
from nexthos_shared.nats.rights import Asked, Rights, rights

MOST = 1500  # namespaces in one session
ALSO = ("soak",)  # those of programs that are no tests, on every server
BEFORE, AFTER = 4, 12  # of a server's own test: its namespace is given before the server, or after
PASSWORD = "of-a-controller"
ANYBODYS = "of-anybody"  # the password of whoever shows no credentials, for a test that needs one
# Others may run these tests on the same machine, and an earlier run may have left containers.
_SESSION = f"t{secrets.token_hex(2)}"
_NAMESPACE = re.compile(_SESSION + r"\d{4}")
_USERS_OF_ITS_OWN = re.compile(r"\b(authorization|accounts|operator)\b")
_REFUSED = re.compile(
    r'user:(t[0-9a-f]{8}-controller" - (?:Publish|Subscription) Violation.*)'
    r'|(authentication error.*"t[0-9a-f]{8}-controller".*)'
)
_given = count()
_last = 0


def next_namespace() -> str:
    """A namespace that nobody else uses in this session."""
    global _last
    _last = next(_given)
    assert _last < MOST, "more tests than namespaces: raise MOST"
    return _name(_last)


def _name(number: int) -> str:
    return f"{_SESSION}{number:04}"


def these() -> range:
    """The namespaces that a server needs which is made now, for a test of now."""
    return range(max(0, _last - BEFORE), _last + AFTER)


def users_for(numbers: Iterable[int], config: str) -> str:
    """What a server's configuration says of users; "" where it has its own."""
    if _USERS_OF_ITS_OWN.search(config):
        return ""
    users = [controller_user(name) for name in (*ALSO, *map(_name, numbers))]
    anybody = f'{{user: "anybody", password: "{ANYBODYS}"}}'
    return "\n".join(
        ["authorization { users: [", anybody, *users, "] }", 'no_auth_user: "anybody"']
    )


def controller_user(namespace: str, deny: str = "") -> str:
    """The user of a namespace's controller, for a configuration that has users of its own.

    `deny`: what it may not publish, though a controller must.
    """
    user = as_conf(controller_rights(namespace), password=PASSWORD)
    return user.replace("publish: {allow:", f'publish: {{deny: "{deny}", allow:') if deny else user


def controller_rights(namespace: str) -> Rights:
    """What a controller may do."""
    return rights("controller", Asked(Names(namespace)))


def options_for(url: str, namespace: str) -> ConnectOptions:
    """How a controller of the tests connects."""
    if not _has_user(namespace):
        return ConnectOptions(url)
    return ConnectOptions(url, user=f"{namespace}-controller", password=PASSWORD)


def environ_for(namespace: str) -> dict[str, str]:
    """The same, for a process."""
    if not _has_user(namespace):
        return {}
    return {"NATS_USER": f"{namespace}-controller", "NATS_PASSWORD": PASSWORD}


def _has_user(namespace: str) -> bool:
    return namespace in ALSO or _NAMESPACE.fullmatch(namespace) is not None


def refusals(log: str) -> list[str]:
    """What a server's log says that controllers were refused."""
    return ["".join(parts) for parts in _REFUSED.findall(log)]
