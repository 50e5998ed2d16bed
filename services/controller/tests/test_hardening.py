"""What a controller denies to others, and what it says of its settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nexthos_controller.runtime.hardening import SECRETS, forget_secrets, risks_of
from nexthos_controller.settings import Settings
from nexthos_shared.errors import SettingsError
from nexthos_shared.nats.options import ConnectOptions, resolve
from nexthos_shared.process.engine_user import EngineUser, engine_users_of
from nexthos_shared.reasons import Reason

HIDDEN = """
import os, sys
from nexthos_controller.runtime.hardening import close_to_others, become_able
from nexthos_shared.process.engine_user import engine_users_of
"""


def in_a_process(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDDEN + script],
        env={"PATH": os.defpath, **environ},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.fault(112)
def test_a_closed_process_belongs_to_root_and_still_reads_itself():
    done = in_a_process(
        "os.setgroups([]); os.setgid(64017); os.setuid(64017)\n"
        "close_to_others()\n"
        "print(os.stat('/proc/self/environ').st_uid)\n"
        "print(len(os.listdir('/proc/self/fd')) > 0, 'Uid' in open('/proc/self/status').read())\n"
        if os.geteuid() == 0
        else "close_to_others()\n"
        "print(os.stat('/proc/self/environ').st_uid)\n"
        "print(len(os.listdir('/proc/self/fd')) > 0, 'Uid' in open('/proc/self/status').read())\n"
    )

    assert done.stdout.split() == ["0", "True", "True"]


def test_its_children_are_as_any_others():
    done = in_a_process(
        "close_to_others()\n"
        "import subprocess\n"
        "print(subprocess.run(['cat', '/proc/self/environ'], env={'A': 'b'}, capture_output=True))\n"
    )

    assert "b'A=b\\x00'" in done.stdout


def test_credentials_are_forgotten_once_they_were_read():
    environ = dict.fromkeys(SECRETS, "x") | {"NATS_URL": "nats://x", "PATH": "/bin"}
    forget_secrets(environ)

    assert environ == {"NATS_URL": "nats://x", "PATH": "/bin"}


def test_every_variable_that_may_hold_a_secret_is_forgotten():
    environ = {name: f"/{name}" for name in SECRETS}
    options = resolve(environ=environ)
    secret = {
        options.user,
        options.password,
        options.token,
        options.creds,
        options.nkey,
        options.key,
    }

    assert {str(value) for value in secret} == set(environ.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users")
def test_without_the_rights_to_it_another_user_is_refused_with_what_is_missing():
    done = in_a_process(
        "os.setgroups([]); os.setgid(64017); os.setuid(64017)\n"
        "try: become_able(engine_users_of('64018'))\n"
        "except Exception as e: print(type(e).__name__, e)\n"
    )

    assert done.stdout.startswith("SettingsError engine_user: ")
    assert "CAP_SETUID" in done.stdout


@pytest.mark.parametrize(
    ("text", "first", "last", "gid"),
    [
        ("65534", 65534, 65534, 65534),
        ("7:8", 7, 7, 8),
        ("100-199", 100, 199, 100),
        ("100-199:5", 100, 199, 5),
    ],
)
def test_users_are_named_by_numbers(text, first, last, gid):
    users = engine_users_of(text)
    assert users is not None

    assert (users.first, users.last, users.gid) == (first, last, gid)


def test_a_user_is_named_by_its_name():
    users = engine_users_of("nobody")
    assert users is not None

    assert users.first == users.last == 65534
    assert engine_users_of("") is None


@pytest.mark.parametrize(
    "text",
    [
        "root",
        "0",
        "0:5",
        "5:0",
        "0-9:5",
        "9-5",
        "4294967295",
        "no such user",
        "a\0b",
        "-1",
        "5:",
        "1-2-3",
    ],
)
def test_root_and_what_is_no_user_are_refused(text):
    with pytest.raises(SettingsError, match="engine_user"):
        engine_users_of(text)


def test_each_has_a_user_of_its_own_and_keeps_it():
    users = engine_users_of("100-102:5")
    assert users is not None

    assert users.free({100}, None) == EngineUser(101, 5)
    assert users.free({100}, 102) == EngineUser(102, 5)
    assert users.free({102}, 102) == EngineUser(100, 5)
    assert users.free({101}, 99) == EngineUser(100, 5)  # of an earlier setting
    assert users.free({100, 101, 102}, None) is None
    assert [users.numbered(n).uid for n in (0, -1, -2, -3, -4)] == [100, 102, 101, 100, 102]


def test_a_user_alone_is_everybodys():
    users = engine_users_of("100")
    assert users is not None

    assert (
        users.free({100}, None) == users.free((), 100) == users.numbered(-7) == EngineUser(100, 100)
    )


# ---- what is said


def risks(settings: Settings, options: ConnectOptions | None = None) -> list[Reason]:
    return [risk.reason for risk in risks_of(settings, options or ConnectOptions())]


def test_engines_as_root_are_a_risk(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert risks(Settings()) == [Reason.ENGINES_AS_ROOT]
    assert risks(Settings(executor="docker", executors={"streams": {}})) == [Reason.ENGINES_AS_ROOT]
    assert risks(Settings(executor="docker")) == []
    assert risks(Settings(engine_user="nobody")) == []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert risks(Settings()) == []


def test_the_controllers_own_credentials_for_pipelines_are_a_risk(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    own = ConnectOptions(creds=Path("/etc/nexthos/controller.creds"))

    assert risks(Settings(), own) == [Reason.CREDENTIALS_SHARED]
    given = Settings.model_validate({"connections": {"default": {"url": "nats://x"}}})
    assert risks(given, own) == []


@pytest.mark.fault(132)
@pytest.mark.parametrize(
    "own",
    [
        ConnectOptions(user="u", password="p"),
        ConnectOptions(url="nats://u:p@example.com"),
        ConnectOptions(url="nats://one.example.com,nats://token@two.example.com"),
        ConnectOptions(token="t"),
        ConnectOptions(nkey=Path("/etc/nexthos/user.nk")),
        ConnectOptions(cert=Path("/etc/nexthos/cert.pem"), key=Path("/etc/nexthos/key.pem")),
    ],
)
def test_credentials_that_pipelines_can_not_be_given_are_a_risk(monkeypatch, own):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert risks(Settings(), own) == [Reason.CREDENTIALS_WITHHELD]
    given = Settings.model_validate(
        {"connections": {"default": {"url": "nats://x", "creds": "/c"}}}
    )
    assert risks(given, own) == []
    same = Settings.model_validate({"connections": {"default": {"url": own.safe_url}}})
    assert risks(same, own) == [Reason.CREDENTIALS_WITHHELD]
