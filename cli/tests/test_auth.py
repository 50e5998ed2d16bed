"""`nexthos auth`: its words reach a shell as they are, and none of them asks for other rights."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest
from click.testing import CliRunner

from nexthos_cli.main import cli
from nexthos_shared.nats.rights import ROLES
from nexthos_testing.roles import (
    printed,
)


@pytest.mark.parametrize("role", ROLES)
def test_a_shell_leaves_every_subject_of_the_command_as_it_is(role: str) -> None:
    key = ["one"] if role == "runner" else []
    command = printed("ns", role, *key, "-o", "nats-cli")
    asked = json.loads(printed("ns", role, *key, "-o", "json"))
    seen = subprocess.run(
        ["sh", "-c", 'nats() { printf "%s\\n" "$@"; }\n' + command],
        check=True,
        capture_output=True,
        text=True,
        env={"JS": "eaten", "KV": "eaten"},
    ).stdout.splitlines()
    assert seen == shlex.split(command.replace("\\\n", ""))[1:]
    assert [s.removeprefix("--pub-allow=") for s in seen if s.startswith("--pub-")] == asked[
        "publish"
    ]
    assert [s.removeprefix("--sub-allow=") for s in seen if s.startswith("--sub-")] == asked[
        "subscribe"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["king"], "there are controller, runner"),
        (["runner"], "give its id"),
        (["controller", "one"], "takes no pipeline id"),
        (["author", "one.>"], "must be"),
        (["author", "*"], "must be"),
        (["viewer", "--inbox", "_INBOX.>"], "not the beginning of a subject"),
        (["viewer", "--inbox", 'a" "b'], "not the beginning of a subject"),
        (["viewer", "--password", 'a"}, {user: x}'], "no quotes"),
        (["viewer", "--nkey", "U\n"], "no quotes"),
        (["controller", "--api", "$JS..API"], "not the beginning of a subject"),
    ],
)
def test_what_would_print_other_rights_is_refused(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["auth", *words, "-n", "ns"])
    assert done.exit_code != 0
    assert said in done.output
    assert "permissions" not in done.stdout


def test_no_role_may_have_responses_that_its_lists_do_not_allow() -> None:
    for role in ROLES:
        assert "allow_responses" not in printed("ns", role, *(["one"] if role == "runner" else []))
