"""Flags over the environment over the selected context, as the `nats` CLI does it."""

import json
import re
from pathlib import Path

import pytest

from nexthos_shared.errors import SettingsError
from nexthos_shared.nats.connection import DEFAULT_URL, ConnectOptions, resolve


@pytest.fixture
def home(tmp_path):
    """A configuration folder of the `nats` CLI; call it to write a context."""
    return Home(tmp_path)


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "nats" / "context"
        self.folder.mkdir(parents=True)
        self.environ = {"XDG_CONFIG_HOME": str(folder), "HOME": "/nowhere"}

    def context(self, name, **fields):
        (self.folder / f"{name}.json").write_text(json.dumps(fields))

    def select(self, name):
        (self.folder.parent / "context.txt").write_text(f"{name}\n")


def test_nothing_given_means_the_local_server():
    assert resolve(environ={}) == ConnectOptions(DEFAULT_URL)


def test_every_variable_of_the_nats_cli_is_read():
    found = resolve(
        environ={
            "NATS_URL": "nats://a:1",
            "NATS_CREDS": "/c.creds",
            "NATS_CA": "/ca.pem",
            "NATS_CERT": "/cert.pem",
            "NATS_KEY": "/key.pem",
        }
    )
    assert found == ConnectOptions(
        "nats://a:1",
        creds=Path("/c.creds"),
        ca=Path("/ca.pem"),
        cert=Path("/cert.pem"),
        key=Path("/key.pem"),
    )
    assert resolve(environ={"NATS_USER": "u", "NATS_PASSWORD": "p"}).password == "p"
    assert resolve(environ={"NATS_NKEY": "/n"}).nkey == Path("/n")
    assert resolve(environ={"NATS_TOKEN": "t"}).token == "t"


def test_the_selected_context_is_used(home):
    home.context("prod", url="nats://prod:4222", creds="~/prod.creds", description="x")
    home.select("prod")

    found = resolve(environ=home.environ)

    assert found.url == "nats://prod:4222"
    assert found.creds == Path("~/prod.creds").expanduser()


def test_a_named_context_wins_over_the_variable_and_this_over_the_selected_one(home):
    for name in ("selected", "variable", "flag"):
        home.context(name, url=f"nats://{name}")
    home.select("selected")
    by_variable = home.environ | {"NATS_CONTEXT": "variable"}

    assert resolve(environ=home.environ).url == "nats://selected"
    assert resolve(environ=by_variable).url == "nats://variable"
    assert resolve(environ=by_variable, context="flag").url == "nats://flag"


def test_flags_win_over_the_environment_and_this_over_the_context(home):
    home.context("c", url="nats://context", inbox_prefix="_INBOX_c", jetstream_domain="hub")
    home.select("c")
    environ = home.environ | {"NATS_URL": "nats://environment"}

    assert resolve(environ=environ).url == "nats://environment"
    assert resolve(environ=environ, server="nats://flag").url == "nats://flag"
    assert resolve(environ=environ, server="nats://flag").jetstream_domain == "hub"
    assert resolve(environ=environ).inbox_prefix == "_INBOX_c"


def test_credentials_of_one_layer_are_never_mixed_with_those_of_another(home):
    home.context("c", user="stored", password="stored", token="stored")
    home.select("c")

    found = resolve(environ=home.environ, creds="/mine.creds")

    assert found == ConnectOptions(creds=Path("/mine.creds"))


def test_flags_for_tls_are_named_as_in_the_nats_cli():
    found = resolve(environ={}, tlscert="/cert", tlskey="/key", tlsca="/ca")
    assert (found.cert, found.key, found.ca) == (Path("/cert"), Path("/key"), Path("/ca"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("socks_proxy", "socks5://proxy"),
        ("nsc", "nsc://operator/account/user"),
        ("creds", "op://vault/item/creds"),
        ("password", "op://vault/item/password"),
        ("creds", "nsc://operator/account/user"),
        ("token", "env://TOKEN"),
        ("user_jwt", "ey..."),
        ("url", 4222),
        ("tls_first", "yes"),
        ("creds", ["/a"]),
    ],
)
def test_what_is_not_supported_is_refused_with_context_file_and_field(home, field, value):
    home.context("prod", **{field: value})

    with pytest.raises(SettingsError, match=rf"'prod'.*{field}") as refused:
        resolve(environ=home.environ, context="prod")

    assert refused.value.problem.field == field
    assert refused.value.problem.file == str(home.folder / "prod.json")


def test_a_refusal_never_shows_the_secret(home):
    home.context("prod", password="op://vault/s3cret")
    with pytest.raises(SettingsError) as refused:
        resolve(environ=home.environ, context="prod")
    assert "s3cret" not in str(refused.value)


def test_fields_that_do_not_matter_here_are_passed_over(home):
    home.context(
        "c", url="nats://a", description="d", color_scheme="x", nsc="", tls_first=False, token=""
    )
    assert resolve(environ=home.environ, context="c") == ConnectOptions("nats://a")


def test_a_context_that_is_missing_is_named_with_its_file(home):
    with pytest.raises(SettingsError, match="nats context ls") as refused:
        resolve(environ=home.environ, context="gone")
    assert refused.value.problem.file == str(home.folder / "gone.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'"text"'])
def test_a_context_that_is_no_json_object_is_refused(home, content):
    (home.folder / "bad.json").write_bytes(content)
    with pytest.raises(SettingsError, match=re.escape("bad.json")):
        resolve(environ=home.environ, context="bad")


@pytest.mark.parametrize("name", ["../secret", "a/b", "..", "."])
def test_a_context_name_never_leaves_the_folder(home, name):
    with pytest.raises(SettingsError, match="not a context name"):
        resolve(environ=home.environ, context=name)


def test_an_unknown_option_is_named():
    with pytest.raises(SettingsError, match="colour"):
        resolve(environ={}, colour="red")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://u:p@a:4222", "nats://a:4222"),
        ("nats://token@a:4222,tls://u:p@b", "nats://a:4222,tls://b"),
        ("nats://u:p%40ss@a", "nats://a"),
        ("nats://a:4222", "nats://a:4222"),
        ("u:p@a:4222", "a:4222"),
        ("token@a:4222", "a:4222"),
        ("u:p@ss@a:4222", "a:4222"),
    ],
)
def test_the_shown_url_has_no_credentials(url, shown):
    assert ConnectOptions(url).safe_url == shown
