"""Connections on a real server: who gets in, who comes back, and how it ends."""

import asyncio
import logging
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import nkeys  # type: ignore[import-untyped]
import pytest

from nexthos_shared.errors import NotPermitted, SettingsError, StoreUnavailable
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_shared.store.watch import Change, Snapshot, watch
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually


def now(server, **options):
    return connect(ConnectOptions(server.url, **options), name="test", daemon=False)


def some_time(server, **options):
    return connect(ConnectOptions(server.url, **options), name="test", daemon=True)


async def gets_in(connection):
    async with connection as link:
        await link.nc.flush()
        return link.nc.is_connected


def nkey_user(folder, name="user", secret=bytes(range(32))):
    """A seed file, and the public key that the server must know."""
    pair = nkeys.from_seed(nkeys.encode_seed(secret, nkeys.PREFIX_BYTE_USER))
    seed = folder / f"{name}.nk"
    seed.write_bytes(pair.seed)
    return seed, pair.public_key.decode()


async def test_user_and_password_get_in_and_wrong_ones_do_not(tmp_path):
    config = "authorization { users: [{user: u, password: p}] }"
    async with NatsServer(tmp_path / "n", config=config) as server:
        assert await gets_in(now(server, user="u", password="p"))
        for connection in (now(server, user="u", password="x"), now(server)):
            with pytest.raises(NotPermitted, match="refuses these credentials"):
                await gets_in(connection)


async def test_user_and_password_in_the_url_get_in(tmp_path):
    config = "authorization { users: [{user: u, password: p}] }"
    async with NatsServer(tmp_path / "n", config=config) as server:
        url = server.url.replace("//", "//u:p@")
        assert await gets_in(connect(ConnectOptions(url), name="test", daemon=False))


async def test_a_token_gets_in(tmp_path):
    async with NatsServer(tmp_path / "n", config="authorization { token: t0ken }") as server:
        assert await gets_in(now(server, token="t0ken"))
        with pytest.raises(NotPermitted) as refused:
            await gets_in(now(server, token="wr0ng"))
        assert "wr0ng" not in str(refused.value)


async def test_an_nkey_gets_in(tmp_path):
    seed, public = nkey_user(tmp_path)
    config = f"authorization {{ users: [{{nkey: {public}}}] }}"
    async with NatsServer(tmp_path / "n", config=config) as server:
        assert await gets_in(now(server, nkey=seed))


async def test_a_daemon_does_not_insist_on_refused_credentials(tmp_path):
    async with NatsServer(tmp_path / "n", config="authorization { token: t }") as server:
        with pytest.raises(NotPermitted):
            await gets_in(some_time(server, token="x"))


@pytest.mark.parametrize("field", ["creds", "nkey", "ca"])
async def test_a_file_that_is_missing_is_named(tmp_path, field):
    gone = tmp_path / "gone"
    options = ConnectOptions("nats://127.0.0.1:1", **{field: gone})
    with pytest.raises(SettingsError, match=r"gone: no such file"):
        await gets_in(connect(options, name="test", daemon=True))


@pytest.mark.parametrize("content", ["", "not credentials", "-----BEGIN NATS USER JWT-----\n"])
@pytest.mark.parametrize("daemon", [True, False])
async def test_a_credentials_file_that_can_not_be_used_is_named(tmp_path, content, daemon):
    creds = tmp_path / "user.creds"
    creds.write_text(content)
    async with NatsServer(tmp_path / "n", config="authorization { token: t }") as server:
        options = ConnectOptions(server.url, creds=creds)
        with pytest.raises((SettingsError, NotPermitted)):
            await gets_in(connect(options, name="test", daemon=daemon))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority, and a certificate for 127.0.0.1 and for a client."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for who in ("server", "client"):
        openssl("req", *new, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext"]
        openssl("x509", "-req", "-in", f"{who}.csr", "-out", f"{who}.pem", *signed)
    return folder


def tls_config(folder: Path, more="") -> str:
    return (
        f'tls {{ cert_file: "{folder / "server.pem"}", key_file: "{folder / "server.key"}", '
        f'ca_file: "{folder / "ca.pem"}" {more} }}'
    )


async def test_tls_needs_the_right_authority(tmp_path, authority):
    async with NatsServer(tmp_path / "n", config=tls_config(authority)) as server:
        assert await gets_in(now(server, ca=authority / "ca.pem"))
        with pytest.raises(SettingsError, match="--tlsca or NATS_CA"):
            await gets_in(now(server))


async def test_a_client_certificate_gets_in(tmp_path, authority):
    config = tls_config(authority, ", verify: true")
    async with NatsServer(tmp_path / "n", config=config) as server:
        mine = {"cert": authority / "client.pem", "key": authority / "client.key"}
        assert await gets_in(now(server, ca=authority / "ca.pem", **mine))


async def test_a_certificate_that_is_none_is_named(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(SettingsError, match=r"bad\.pem"):
        await gets_in(connect(ConnectOptions(ca=bad), name="test", daemon=True))


@pytest.mark.parametrize("first", [True, False])
async def test_over_tls_a_server_that_ends_is_no_warning(tmp_path, authority, caplog, first):
    config = (
        f'tls {{ cert_file: "{authority / "server.pem"}", key_file: "{authority / "server.key"}"'
        f", handshake_first: {'auto' if first else 'false'} }}\nauthorization {{ token: t }}"
    )
    async with NatsServer(tmp_path / "n", config=config) as server:
        options = {"ca": authority / "ca.pem", "tls_first": first}
        with caplog.at_level(logging.WARNING, "asyncio"):
            with pytest.raises(NotPermitted):
                await gets_in(now(server, token="x", **options))
            async with now(server, token="t", **options) as link:
                await server.stop()
                await eventually(lambda: not link.nc.is_connected, within=10)
                await asyncio.sleep(0)
    assert [r.message for r in caplog.records if r.name == "asyncio"] == []


async def test_no_server_is_said_with_what_to_do():
    options = ConnectOptions(f"nats://u:s3cret@127.0.0.1:{free_port()}")
    async with asyncio.timeout(3):
        with pytest.raises(StoreUnavailable, match="set NATS_URL or --server") as missing:
            await gets_in(connect(options, name="test", daemon=False))
    assert "refused" in str(missing.value).lower()
    assert "s3cret" not in str(missing.value)


async def test_something_else_that_listens_is_given_up_in_time():
    async def says_nothing(_reader, writer):
        silent.append(writer)

    silent: list[asyncio.StreamWriter] = []
    other = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    async with other:
        port = other.sockets[0].getsockname()[1]
        async with asyncio.timeout(8):
            with pytest.raises(StoreUnavailable):
                await gets_in(
                    connect(ConnectOptions(f"nats://127.0.0.1:{port}"), name="t", daemon=False)
                )
        for writer in silent:
            writer.close()


@pytest.mark.fault(11)
async def test_a_daemon_waits_for_its_server(tmp_path):
    server = NatsServer(tmp_path / "n")
    waiting = asyncio.create_task(gets_in(some_time(server)))
    async with server:
        assert await waiting


async def test_a_daemon_can_be_stopped_while_it_waits():
    options = ConnectOptions(f"nats://127.0.0.1:{free_port()}")
    waiting = asyncio.create_task(gets_in(connect(options, name="test", daemon=True)))
    await eventually(lambda: len(asyncio.all_tasks()) > 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("daemon", [True, False])
async def test_a_connection_comes_back_and_says_so(fresh_nats, daemon):
    async with connect(ConnectOptions(fresh_nats.url), name="test", daemon=daemon) as link:
        assert link.reconnects == 0
        back = asyncio.create_task(link.wait_reconnect(0))
        await fresh_nats.restart(kill=True)
        async with asyncio.timeout(15):
            assert await back == 1
        await link.nc.flush()


@pytest.mark.fault(24)
async def test_a_daemon_outlives_revoked_credentials(tmp_path):
    granted = "authorization { users: [{user: u, password: p}] }"
    server = NatsServer(tmp_path / "n", config=granted)
    async with server, some_time(server, user="u", password="p") as link:
        server.config = granted.replace("password: p", "password: other")
        server.reload()
        await eventually(lambda: not link.nc.is_connected)
        server.config = granted
        server.reload()
        async with asyncio.timeout(15):
            await link.wait_reconnect(0)
        await link.nc.flush()


@pytest.mark.fault(24)
async def test_a_daemon_takes_another_nkey_from_its_file(tmp_path):
    seed, public = nkey_user(tmp_path)
    server = NatsServer(tmp_path / "n", config=f"authorization {{ users: [{{nkey: {public}}}] }}")
    async with server, some_time(server, nkey=seed) as link:
        other, its_public = nkey_user(tmp_path, "other", bytes(range(1, 33)))
        other.replace(seed)
        server.config = server.config.replace(public, its_public)
        server.reload()
        async with asyncio.timeout(15):
            await link.wait_reconnect(0)
        await link.nc.flush()


async def test_leaving_ends_in_time_while_the_server_is_away(fresh_nats):
    async with asyncio.timeout(10):
        async with some_time(fresh_nats) as link:
            await fresh_nats.kill()
            await eventually(lambda: not link.nc.is_connected)
    assert link.nc.is_closed


async def test_a_flush_that_is_given_up_makes_nobody_deaf(nats_server):
    async with now(nats_server) as link:
        for turns in range(5):
            given_up = asyncio.create_task(link.nc.flush())
            for _ in range(turns):
                await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.wait({given_up})
        await link.js.account_info()
        await link.nc.flush()


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("call", ["flush", "request"])
async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(
    nats_server, namespace, call, turns
):
    async def reply(message):
        await message.respond(b"")

    async with now(nats_server) as other, now(nats_server) as link:
        await other.nc.subscribe(namespace, cb=reply)
        await other.nc.flush()
        await link.nc.flush()
        read, answered = link.nc._ps.parse, asyncio.Event()

        async def read_and_tell(data):
            await read(data)
            answered.set()

        async def ask():
            await (link.nc.flush() if call == "flush" else link.nc.request(namespace, timeout=5))
            await asyncio.Event().wait()

        link.nc._ps.parse = read_and_tell
        asking = asyncio.create_task(ask())
        await answered.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking}, timeout=5)
        assert asking.cancelled()


async def test_leaving_sends_what_is_pending(nats_server, namespace):
    async with now(nats_server) as listener:
        heard = await listener.nc.subscribe(namespace)
        await listener.nc.flush()
        async with now(nats_server) as link:
            await link.nc.publish(namespace, b"last words")
        assert (await heard.next_msg(timeout=5)).data == b"last words"


async def test_leaving_leaves_no_task_behind(nats_server):
    before = len(asyncio.all_tasks())
    assert await gets_in(some_time(nats_server))
    await eventually(lambda: len(asyncio.all_tasks()) == before)


async def test_an_error_inside_comes_out_unchanged(nats_server):
    with pytest.raises(ZeroDivisionError):
        async with now(nats_server):
            _ = 1 / 0


@pytest.mark.parametrize(
    "options", [{"jetstream_domain": "hub"}, {"jetstream_api_prefix": "$JS.hub.API"}]
)
async def test_domain_and_prefix_of_jetstream_are_honoured(tmp_path, options):
    server = NatsServer(tmp_path / "n", jetstream="domain: hub")
    async with server, now(server, **options) as link:
        store = await Store.open(link, Names("a"), create=True)
        await store.pipelines.put("one", b"1")
        async with aclosing(watch(store.pipelines, link)) as items:
            first = await anext(items)
            assert isinstance(first, Snapshot)
            await store.pipelines.put("two", b"2")
            second = await anext(items)
        assert isinstance(second, Change)
        assert [e.key for e in (*first.entries, second.entry)] == ["one", "two"]


async def test_the_inbox_prefix_is_honoured_and_a_refused_inbox_is_named(tmp_path):
    allowed = (
        "authorization { users: [{user: u, password: p, permissions: "
        '{publish: ">", subscribe: "_INBOX_mine.>"}}] }'
    )
    async with NatsServer(tmp_path / "n", config=allowed) as server:
        mine = {"user": "u", "password": "p"}
        async with now(server, **mine, inbox_prefix="_INBOX_mine") as link:
            await Store.open(link, Names("a"), create=True)
        async with asyncio.timeout(3):
            async with now(server, **mine) as link:
                with pytest.raises(NotPermitted, match="_INBOX"):
                    await Store.open(link, Names("a"), create=True)


SPARED_AND_USED = """
import asyncio, sys
from nexthos_shared.process.lightly import import_lightly
import_lightly()
assert "aiohttp" not in sys.modules
from nexthos_shared.nats.connection import ConnectOptions, connect
async def main():
    async with connect(ConnectOptions(sys.argv[1]), name="test", daemon=False) as link:
        await link.nc.flush()
asyncio.run(main())
assert ("aiohttp" in sys.modules) is sys.argv[1].startswith("ws://")
"""


async def test_what_only_websockets_need_is_loaded_for_them_and_for_nothing_else(tmp_path):
    port = free_port()
    config = f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true }}'
    async with NatsServer(tmp_path / "n", config=config) as server:
        for url in (f"ws://127.0.0.1:{port}", server.url):
            command = [sys.executable, "-c", SPARED_AND_USED, url]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
