"""Who a client says that it is to a server: URLs, credentials files and seeds, as the `nats` CLI has it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

import nkeys  # type: ignore[import-untyped]
import pytest

from nexthos_shared.errors import NotPermitted, SettingsError, StoreUnavailable
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.credentials import Operator
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

HARD = "p@s/s:w,%d ä"
ENCODED = "p%40s%2Fs%3Aw%2C%25d%20%C3%A4"


def is_at(link, port):
    return link.nc.is_connected and link.nc.connected_url.port == port


def reach(url, *, daemon=False, **options):
    return connect(ConnectOptions(url, **options), name="test", daemon=daemon)


async def gets_in(connection):
    async with connection as link:
        await link.nc.flush()
        return link.nc.is_connected


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.fault(134)
async def test_user_and_password_in_a_url_are_decoded(tmp_path, daemon):
    config = f'authorization {{ users: [{{user: "a@b", password: "{HARD}"}}] }}'
    async with NatsServer(tmp_path / "n", config=config) as server:
        url = server.url.replace("//", f"//a%40b:{ENCODED}@")
        assert await gets_in(reach(url, daemon=daemon))
        assert await gets_in(reach(url.removeprefix("nats://"), daemon=daemon))


@pytest.mark.fault(134)
async def test_a_token_in_a_url_is_decoded(tmp_path):
    async with NatsServer(tmp_path / "n", config='authorization { token: "t@k/n" }') as server:
        assert await gets_in(reach(server.url.replace("//", "//t%40k%2Fn@")))


@pytest.mark.fault(134)
async def test_each_server_of_a_list_has_its_own(tmp_path):
    config = 'authorization { users: [{user: u, password: "%s"}] }'
    async with (
        NatsServer(tmp_path / "a", config=config % "p@a") as a,
        NatsServer(tmp_path / "b", config=config % "p@b") as b,
    ):
        both = ",".join(s.url.replace("//", f"//u:p%40{name}@") for s, name in ((a, "a"), (b, "b")))
        async with reach(f" {both} ", daemon=True) as link:
            for gone, back in ((a, b), (b, a)):
                await gone.stop()
                await eventually(partial(is_at, link, back.port), within=15)
                await gone.start()


@pytest.mark.fault(134)
async def test_a_server_that_the_cluster_told_of_is_shown_the_same_user(tmp_path):
    routes = [free_port(), free_port()]
    known = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in routes)
    servers = [
        NatsServer(
            tmp_path / str(number),
            jetstream=None,
            config=f"server_name: n{number}\n"
            'authorization { users: [{user: u, password: "p@ss"}] }\n'
            f"cluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{known}] }}",
        )
        for number, port in enumerate(routes)
    ]
    async with servers[0], servers[1]:
        first = servers[0].url.replace("//", "//u:p%40ss@")
        async with reach(first, daemon=True) as link:
            await eventually(lambda: link.nc.discovered_servers, within=15)
            await servers[0].stop()
            await eventually(
                lambda: link.nc.is_connected and link.nc.connected_url.port == servers[1].port,
                within=15,
            )


@pytest.mark.fault(134)
async def test_a_user_without_a_password_is_sent_as_the_nats_cli_sends_it(tmp_path):
    config = 'authorization { users: [{user: u, password: ""}] }'
    async with NatsServer(tmp_path / "n", config=config) as server:
        assert await gets_in(reach(server.url, user="u"))


@pytest.mark.parametrize(
    "url",
    [
        "nats://u:s3cret/x@127.0.0.1:4222",
        "nats://u:s3,cret@127.0.0.1:4222",
        "nats://u:s3cret@127.0.0.1:abc",
        "nats://u:s3cret@[::1",
        "nats://",
        "http://127.0.0.1:4222",
        "nats://127.0.0.1:99999",
        "nats://127.0.0.1,ws://127.0.0.1",
        " , ",
    ],
)
@pytest.mark.fault(134)
async def test_what_is_no_url_of_a_server_is_named_without_its_password(url):
    with pytest.raises(SettingsError, match="server") as refused:
        await gets_in(reach(url, daemon=True))
    assert "cret" not in str(refused.value)


def pair(kind=nkeys.PREFIX_BYTE_USER):
    return nkeys.from_seed(nkeys.encode_seed(bytes(range(32)), kind))


BROKEN = {
    "empty": "",
    "binary": "\0\1\2",
    "words": "not a seed",
    "cut": pair().seed.decode()[:-6],
    "changed": pair().seed.decode()[:9] + "A" + pair().seed.decode()[10:],
    "not-a-users": pair(nkeys.PREFIX_BYTE_ACCOUNT).seed.decode(),
    "public": pair().public_key.decode(),
}


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.fault(134)
async def test_a_bad_nkey_is_named(tmp_path, content, daemon):
    file = tmp_path / "user.nk"
    file.write_text(content)
    async with NatsServer(
        tmp_path / "n",
        config=f"authorization {{ users: [{{nkey: {pair().public_key.decode()}}}] }}",
    ) as server:
        with pytest.raises(SettingsError, match=r"user\.nk: .*nkey") as refused:
            await gets_in(reach(server.url, nkey=file, daemon=daemon))
        assert "Error" not in str(refused.value)


SEED = "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n"
JWT = "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n"


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "nkey"),
        ("words", "nkey"),
        (JWT % "a.b.c", "nkey"),
        (JWT % "a.b.c" + SEED % "SUAB", "nkey"),
        (JWT % "a.b.c" + "-----BEGIN USER NKEY SEED-----", "nkey"),
        (SEED % pair().seed.decode(), "no NATS USER JWT"),
        ("-----BEGIN NATS USER JWT-----\n" + SEED % pair().seed.decode(), "no NATS USER JWT"),
    ],
)
@pytest.mark.fault(134)
async def test_a_bad_credentials_file_is_named(tmp_path, content, words, daemon):
    file = tmp_path / "user.creds"
    file.write_text(content)
    async with NatsServer(tmp_path / "n", config=Operator().config, namespaces=range(0)) as server:
        with pytest.raises(SettingsError, match=rf"user\.creds: .*{words}"):
            await gets_in(reach(server.url, creds=file, daemon=daemon))


@pytest.mark.fault(134)
async def test_credentials_with_other_ends_of_lines_get_in(tmp_path):
    operator = Operator()
    file = tmp_path / "user.creds"
    operator.user(file)
    for content in (file.read_text().replace("\n", "\r\n"), file.read_text().rstrip("-\n")):
        file.write_bytes(content.encode())
        async with NatsServer(
            tmp_path / "n", config=operator.config, namespaces=range(0)
        ) as server:
            assert await gets_in(reach(server.url, creds=file))


async def fill(url, **options):
    """Connect until no more fit: the fixture's own look at the server may still count."""
    async with AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(reach(url, **options))


@pytest.mark.fault(134)
async def test_a_server_that_has_no_room_says_so(tmp_path):
    async with NatsServer(tmp_path / "n", config="max_connections: 3") as server:
        with pytest.raises(StoreUnavailable, match="maximum connections exceeded"):
            await fill(server.url)


@pytest.mark.fault(134)
async def test_an_account_that_has_no_room_says_so(tmp_path):
    operator = Operator()
    operator.limits = {"conn": 3}
    file = tmp_path / "user.creds"
    operator.user(file)
    async with NatsServer(tmp_path / "n", config=operator.config, namespaces=range(0)) as server:
        with pytest.raises(StoreUnavailable, match=r"maximum .*connections exceeded"):
            await fill(server.url, creds=file)


@pytest.mark.fault(134)
async def test_a_refused_inbox_is_named_in_its_own_case(tmp_path):
    allowed = (
        "authorization { users: [{user: u, password: p, permissions: "
        '{publish: ">", subscribe: "_INBOX_Mine.>"}}] }'
    )
    async with NatsServer(tmp_path / "n", config=allowed) as server:
        for prefix in ("_INBOX", "_INBOX_Other"):
            async with reach(server.url, user="u", password="p", inbox_prefix=prefix) as link:
                with pytest.raises(NotPermitted, match=rf'"{prefix}\.'):
                    await Store.open(link, Names("a"), create=True)
