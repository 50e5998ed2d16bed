# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""What NATS is shown: users, credentials files, certificates. What is refused ends at once, and is named."""

from __future__ import annotations

import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nexthos_shared.exit_codes import Exit
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.credentials import Operator
from nexthos_testing.handing_out import handing_out
from nexthos_testing.nats import NatsServer

PASSWORD = "p@ss:w/rd"
IN_URL = "p%40ss%3Aw%2Frd"


@asynccontextmanager
async def stored(options, namespace, content):
    async with (
        connect(options, name="test", daemon=False) as link,
        handing_out(options, namespace),
    ):
        store = await Store.open(link, Names(namespace), create=True)
        await store.configs.put("orders", "1", content)
        yield store


@pytest.fixture
def far(alone, namespace):
    """Told to wait for minutes: what will not get better ends at once."""
    alone.namespace = namespace
    alone.defaults["NEXTHOS_FETCH_WITHIN"] = "600"
    return alone


async def test_a_user_in_the_url_is_shown_and_a_wrong_one_refused(far, namespace, tick, tmp_path):
    config = f'authorization {{ user: me, password: "{PASSWORD}" }}'
    async with NatsServer(tmp_path / "n", config=config) as server:
        host = server.url.removeprefix("nats://")
        async with stored(
            ConnectOptions(server.url, user="me", password=PASSWORD), namespace, tick
        ):
            good = await far.start(NEXTHOS_STORE_URL=f"nats://me:{IN_URL}@{host}")
            await good.engine()
            for wrong in (f"nats://me:wrong@{host}", f"nats://{host}", f"nats://token@{host}"):
                run = await far.start(NEXTHOS_STORE_URL=wrong)
                assert await run.ended(within=5) == Exit.REFUSED
                assert "refuses these credentials" in run.errors()[0]
                assert "wrong" not in run.text()


async def test_a_token_in_the_url_is_shown(far, namespace, tick, tmp_path):
    async with (
        NatsServer(tmp_path / "n", config="authorization { token: t0ken }") as server,
        stored(ConnectOptions(server.url, token="t0ken"), namespace, tick),
    ):
        run = await far.start(NEXTHOS_STORE_URL=server.url.replace("//", "//t0ken@"))
        await run.engine()


async def test_a_credentials_file_is_used_and_dropped_and_a_revoked_one_refused(
    far, namespace, tick, tmp_path
):
    operator = Operator()
    own = tmp_path / "own.creds"
    operator.user(own)
    async with (
        NatsServer(tmp_path / "n", config=operator.config) as server,
        stored(ConnectOptions(server.url, creds=own), namespace, tick),
    ):
        far.folder.mkdir()
        creds = far.folder / "store.creds"
        user = operator.user(creds)
        given = {"NEXTHOS_STORE_URL": server.url, "NEXTHOS_STORE_CREDS": str(creds)}
        await (await far.start(**given)).engine()
        assert not creds.exists()

        missing = await far.start(**given)
        assert await missing.ended(within=5) == Exit.SETTINGS
        assert str(creds) in missing.errors()[0]

        user = operator.user(creds)
        operator.revoke(user)
        server.config = operator.config
        await server.restart()
        refused = await far.start(**given)
        assert await refused.ended(within=5) == Exit.REFUSED
        assert "SUA" not in refused.text()


async def test_a_users_own_credentials_file_by_hand_is_left_to_them(far, namespace, tick, tmp_path):
    operator = Operator()
    own = tmp_path / "own.creds"
    operator.user(own)
    async with (
        NatsServer(tmp_path / "n", config=operator.config) as server,
        stored(ConnectOptions(server.url, creds=own), namespace, tick),
    ):
        await (await far.start(NATS_URL=server.url, NATS_CREDS=str(own))).engine()
        assert own.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\xff",
        "-----BEGIN NATS USER JWT-----\njwt\n------END NATS USER JWT------\n",
        "-----BEGIN NATS USER JWT-----\njwt\n------END NATS USER JWT------\n"
        "-----BEGIN USER NKEY SEED-----\nSUAHUNTER2\n------END USER NKEY SEED------\n",
    ],
)
async def test_a_credentials_file_that_is_none_is_told_without_what_is_in_it(
    far, nats_server, text, tmp_path
):
    creds = tmp_path / "broken.creds"
    creds.write_text(text, encoding="latin-1")
    run = await far.start(NEXTHOS_STORE_URL=nats_server.url, NEXTHOS_STORE_CREDS=str(creds))
    assert await run.ended(within=5) == Exit.SETTINGS
    assert str(creds) in run.errors()[0]
    assert "HUNTER2" not in run.text()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl(
            "req", *new[:-2], "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}"
        )
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        openssl(
            "x509", "-req", "-in", f"{who}.csr", "-out", f"{who}.pem", *signed, "-extfile", "san"
        )
    return folder


async def test_tls_with_certificates_of_both_sides(far, namespace, tick, tmp_path, authority: Path):
    file = {name: str(authority / name) for name in ("ca.pem", "client.pem", "client.key")}
    config = (
        f'tls {{ cert_file: "{authority / "server.pem"}", key_file: "{authority / "server.key"}", '
        f'ca_file: "{file["ca.pem"]}", verify: true }}'
    )
    shown = {"NATS_CERT": file["client.pem"], "NATS_KEY": file["client.key"]}
    options = ConnectOptions(
        "", ca=authority / "ca.pem", cert=authority / "client.pem", key=authority / "client.key"
    )
    async with NatsServer(tmp_path / "n", config=config) as server:
        where = {"NEXTHOS_STORE_URL": server.url}
        async with stored(replace(options, url=server.url), namespace, tick):
            await (await far.start(**where, **shown, NATS_CA=file["ca.pem"])).engine()
            unknown = await far.start(**where, **shown)
            assert await unknown.ended(within=5) == Exit.SETTINGS
            assert "NATS_CA" in unknown.errors()[0]
            broken = await far.start(**where, NATS_CA=__file__)
            assert await broken.ended(within=5) == Exit.SETTINGS
            nothing = await far.start(**where, NATS_CA=file["ca.pem"], NEXTHOS_FETCH_WITHIN="0")
            assert await nothing.ended(within=5) == Exit.AWAY, nothing.text()
