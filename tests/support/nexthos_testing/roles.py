"""Users of the roles that `nexthos auth` prints, on a real server, and what no role may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from click.testing import CliRunner
from nats.aio.client import Client

from nexthos_cli.main import cli
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.field import Field
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

PASSWORD = "p4ss"


def printed(namespace: str, role: str, *more: str) -> str:
    """What the command prints, of which all is pasted."""
    done = CliRunner().invoke(cli, ["auth", role, *more, "-n", namespace])
    assert done.exit_code == 0, done.output
    return done.stdout


def pasted(namespace: str, *roles: tuple[str, ...]) -> str:
    """A server's configuration with those users, and an administrator who needs no password."""
    users = [printed(namespace, *role, "--password", PASSWORD) for role in roles]
    return "\n".join(
        [
            'authorization { users: [ {user: "admin", password: "p"}',
            *users,
            '] }\nno_auth_user: "admin"',
        ]
    )


class As:
    """A connection of one of these users, and what it was refused."""

    def __init__(self, nc: Client, refused: list[str]) -> None:
        self.nc = nc
        self._refused = refused
        self._sent = 0

    async def is_refused(self, subject: str, payload: bytes = b"") -> bool:
        """Whether the server does not let that be published; with a reply, as a request has one."""
        await self.nc.publish(subject, payload, reply=self.nc.new_inbox())
        return f'publish to "{subject.lower()}"' in await self._heard()

    async def may_not_hear(self, subject: str) -> bool:
        await self.nc.subscribe(subject)
        return f'subscription to "{subject.lower()}"' in await self._heard()

    async def _heard(self) -> str:
        """All refusals up to now: the server tells them in order, and one more is provoked."""
        self._sent += 1
        await self.nc.publish(f"nobody.may.{self._sent}", b"")
        await eventually(
            lambda: f'"nobody.may.{self._sent}"' in " ".join(self._refused), every=0.001
        )
        told = " ".join(self._refused)
        self._refused.clear()
        return told


@asynccontextmanager
async def connected(server: NatsServer, user: str, inbox: str = "_INBOX") -> AsyncIterator[As]:
    refused: list[str] = []

    async def heard(error: Exception) -> None:
        refused.append(str(error))

    nc = await nats.connect(
        server.url, user=user, password=PASSWORD, inbox_prefix=inbox, error_cb=heard
    )
    try:
        yield As(nc, refused)
    finally:
        await nc.close()
        server.refusals()  # are what was to be seen


def forbidden(namespace: str) -> list[str]:
    """What no role may do, but where the test says so: streams, other buckets, other namespaces."""
    names, other = Names(namespace), Names("other")
    streams = [f"KV_{b}" for b in (names.pipelines, names.status, names.control)]
    streams += [f"OBJ_{names.configs}", names.events]
    verbs = (
        "STREAM.DELETE",
        "STREAM.PURGE",
        "STREAM.UPDATE",
        "STREAM.MSG.DELETE",
        "STREAM.SNAPSHOT",
        "STREAM.RESTORE",
        "STREAM.LEADER.STEPDOWN",
        "CONSUMER.DURABLE.CREATE",
    )
    ends = {"CONSUMER.DURABLE.CREATE": ".mine"}
    found = [f"$JS.API.{verb}.{stream}{ends.get(verb, '')}" for verb in verbs for stream in streams]
    found += [
        "$JS.API.INFO",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.CREATE.mine",
        "$JS.API.CONSUMER.CREATE.KV_other-pipelines",
        "$JS.API.DIRECT.GET.KV_other-pipelines.$KV.other-pipelines.one",
        f"$KV.{other.pipelines}.one",
        f"$KV.{names.pipelines}.other",
        f"$KV.{names.status}x.one",
        "$SYS.REQ.SERVER.PING",
        "$SRV.PING",
        "other.svc.status",
        "anything",
    ]
    return found


CONTROLLERS_OWN = ("status.one", "control.lease", "control.installation", "control.abandoned.m1")


async def set_up(field: Field) -> None:
    """The buckets, as an administrator makes them, and one definition of another."""
    url = field.nc.connected_url
    assert url is not None
    async with connect(ConnectOptions(url.geturl()), name="admin", daemon=False) as link:
        await Store.open(link, field.names, create=True)
    await field.put("other")
