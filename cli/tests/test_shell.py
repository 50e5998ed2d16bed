"""How it feels in a shell: completion, suggestions, colours, pipes, Ctrl-C, exit codes, start-up."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nexthos_cli.main import ALIASES, SECTIONS

NEXTHOS = Path(sys.executable).parent / "nexthos"
GOOD = {"status": "published", "version": "1"}
VERBS = [name for section in SECTIONS.values() for name in section if name != "dev"]


def complete(person, shell, words, last):
    """Ask as the shell's script does; returns what is offered."""
    env = {
        **os.environ,
        **person.env,
        "_NEXTHOS_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join([*words, last]),
        "COMP_CWORD": last if shell == "fish" else str(len(words)),
    }
    done = subprocess.run(
        [NEXTHOS], env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line]
    if shell == "bash":
        return [line.partition(",")[2] for line in lines]
    return lines


def test_pipeline_ids_are_completed_and_not_twice(person):
    for key in ("orders", "other", "clicks"):
        person.put(key, GOOD)
    assert complete(person, "bash", ["nexthos", "pause"], "o") == ["orders", "other"]
    assert complete(person, "bash", ["nexthos", "pause", "orders"], "o") == ["other"]
    assert complete(person, "bash", ["nexthos", "logs"], "") == ["clicks", "orders", "other"]
    assert "orders" in complete(person, "zsh", ["nexthos", "status"], "ord")
    assert any("orders" in line for line in complete(person, "fish", ["nexthos", "rm"], "ord"))


def test_commands_options_and_reasons_are_completed(person):
    assert complete(person, "bash", ["nexthos"], "pub") == ["publish"]
    assert "--dry-run" in complete(person, "bash", ["nexthos", "apply"], "--d")
    assert complete(person, "bash", ["nexthos", "explain"], "lintf") == ["LintFailed"]
    assert "output-ls" in complete(person, "bash", ["nexthos", "schema"], "output-l")
    assert complete(person, "bash", ["nexthos", "wait", "x", "--for"], "re") == ["ready"]


def test_places_are_completed(person):
    person.put("a", GOOD)
    memory = {"places": [{"executor": "process", "place": "m1"}]}
    person.report("a", "Unknown", memory=memory)
    assert complete(person, "bash", ["nexthos", "abandon"], "m") == ["m1"]


def test_completion_without_a_server_is_just_empty(person):
    person.env["NATS_URL"] = "nats://127.0.0.1:1"
    assert complete(person, "bash", ["nexthos", "pause"], "o") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(person, shell):
    out = person.does("completion", shell).stdout
    assert "_NEXTHOS_COMPLETE" in out
    assert person.types("completion", "tcsh").exit_code == 2


def test_a_mistyped_command_is_suggested(person):
    for typed, meant in (("aply", "apply"), ("publsh", "publish"), ("sttus", "status")):
        result = person.types(typed)
        assert result.exit_code == 2
        assert f"Did you mean '{meant}'" in result.stderr
    assert "Did you mean" not in person.types("zzzz").stderr
    assert "did you mean LintFailed" in person.types("explain", "LintFaild").stderr


@pytest.mark.parametrize("verb", [*VERBS, *ALIASES])
def test_every_command_explains_itself_and_takes_global_options_on_either_side(person, verb):
    assert "Usage: " in person.does(verb, "--help").stdout
    assert "Usage: " in person.does("-n", "x", verb, "-n", "y", "--help").stdout


def test_help_lists_every_command_and_the_exit_codes(person):
    out = person.does("--help").stdout
    assert all(f"  {verb} " in out for verb in VERBS)
    assert "4 not there in time" in out
    assert person.types().exit_code == 2


def test_version_is_told(person):
    assert person.does("--version").stdout.startswith("nexthos 0.")


def test_global_options_after_the_command_win(person):
    person.put("a", GOOD)
    out = person.does("-n", "other", "ls", "-n", person.namespace, "-o", "name").stdout
    assert out == "pipeline/a\n"
    assert person.types("-n", "Not A Name", "ls").exit_code == 2


def test_a_context_of_the_nats_cli_is_used(person):
    url = person.env.pop("NATS_URL")
    person.file("../config/nats/context/mine.json", json.dumps({"url": url}))
    assert person.types("ls", "--context", "mine").exit_code == 0
    wrong = person.types("ls", "--context", "nowhere")
    assert wrong.exit_code == 1
    assert "nats context ls" in wrong.stderr


def test_a_server_that_is_not_there_is_one_line_and_one(person):
    result = person.types("ls", "-s", "nats://127.0.0.1:1")
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr
    assert "see: nexthos explain StoreUnavailable" in result.stderr


def test_passwords_are_not_shown(person):
    result = person.types("ls", "-s", "nats://me:secret@127.0.0.1:1")
    assert "secret" not in result.output


def test_exit_codes_are_0_1_2_and_4(person):
    person.put("a", GOOD)
    assert person.types("ls").exit_code == 0
    assert person.types("get", "nowhere").exit_code == 1
    assert person.types("ls", "--nonsense").exit_code == 2
    assert person.types("wait", "a", "--timeout", "100ms").exit_code == 4


def test_a_defect_is_one_line_without_a_traceback(person, monkeypatch):
    def broken(*_):
        raise RuntimeError("oh no")

    monkeypatch.setattr("nexthos_cli.output.lines.all_lines", broken)
    result = person.types("ls")
    assert result.exit_code == 1
    assert "a defect of nexthos: RuntimeError: oh no (InternalError)" in result.stderr
    assert "Traceback" not in result.output


def test_ctrl_c_ends_quietly_with_130(person):
    person.put("a", GOOD)
    process = person.spawn("wait", "a")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.strip() == ""


def test_a_reader_that_goes_away_is_no_error(person):
    process = person.spawn("schema", "status")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=10) == 141


def test_lines_go_through_pipes(person):
    for key in ("a", "b", "c"):
        person.put(key, GOOD)
    env = {**os.environ, **person.env, "N": str(NEXTHOS)}
    script = '"$N" ls -q -o name | cut -d/ -f2 | xargs "$N" pause && "$N" get --all | "$N" apply -'
    done = subprocess.run(
        ["sh", "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("paused") == 3
    assert done.stdout.count("unchanged") == 3


def on_terminal(person, *args, **env):
    """What a command writes to a terminal."""
    main, sub = pty.openpty()
    process = subprocess.Popen(
        [NEXTHOS, *args],
        env={**os.environ, **person.env, "TERM": "xterm", "COLUMNS": "200", **env},
        stdout=sub,
        stderr=sub,
        stdin=subprocess.DEVNULL,
    )
    os.close(sub)
    written = read_rest(main)
    process.wait(timeout=10)
    return written.decode()


def test_colours_are_for_terminals_and_not_with_no_color(person):
    person.put("a", GOOD)
    person.report("a", "Running", ready=1, replicas=1, version="1")
    assert "\x1b[32mRunning" in on_terminal(person, "ls")
    for args in (("ls",), ("doctor",), ("get", "nowhere")):
        assert "\x1b[3" not in on_terminal(person, *args, NO_COLOR="1")
    assert "\x1b[31m" in on_terminal(person, "get", "nowhere")
    assert "\x1b" not in person.does("ls").output


def test_a_terminal_gets_a_table_that_is_redrawn(person):
    person.put("a", GOOD)
    main, sub = pty.openpty()
    process = subprocess.Popen(
        [NEXTHOS, "ls", "-w"],
        env={**os.environ, **person.env, "TERM": "xterm", "COLUMNS": "120"},
        stdout=sub,
        stderr=sub,
    )
    os.close(sub)
    try:
        read_until(main, b"published")
        person.report("a", "Running", ready=1, replicas=1, version="1")
        read_until(main, b"Running")
    finally:
        process.send_signal(signal.SIGINT)
        assert b"Traceback" not in read_rest(main)
        assert process.wait(timeout=10) == 130


def read_until(terminal, words):
    seen = b""
    while words not in seen:
        seen += os.read(terminal, 65536)


def read_rest(terminal):
    written = b""
    try:
        while chunk := os.read(terminal, 65536):
            written += chunk
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(terminal)
    return written


def test_waiting_on_a_terminal_shows_what_is_waited_for(person):
    person.put("a", GOOD)
    assert "no status yet" in on_terminal(person, "wait", "a", "--timeout", "3s")


def test_ls_does_not_load_what_it_does_not_need(person):
    person.put("a", GOOD)
    script = (
        "import sys\n"
        "from nexthos_cli.main import cli\n"
        "try:\n    cli(['ls'])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'aiohttp', 'rich', 'ruamel', 'docker', 'watchfiles', 'nexthos_controller'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **person.env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
