"""Variables are substituted as the engine itself does it, and the host's own pass changes nothing more."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from nexthos_controller.executors.shared.variables import protect, substitute, unprotectable
from nexthos_shared.engine import locate_engine
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually

HEAD = "output: {drop: {}}\ninput:\n  generate:\n    mapping: |\n      x"
TAIL = "\n"
PIECES = [
    "${",
    "${{",
    "}",
    "}}",
    "{",
    "$",
    ":",
    "A",
    "B_2",
    "E",
    "NOPE",
    "a.b",
    " ",
    "é",
    "!",
    "x",
    '"',
]
VALUES = ["", "v", "${A}", "${{A}}", "${NOPE:x}", "two\nlines", "}", "$", "$${", "é", "{A}"]
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
environments = st.fixed_dictionaries(
    {"A": st.sampled_from(VALUES), "E": st.just("")}, optional={"B_2": st.sampled_from(VALUES)}
)


def mapping_of(config: str) -> str:
    document = YAML(typ="safe", pure=True).load(config)
    return str(document["input"]["generate"]["mapping"])


def engines_own(config: str, environment: dict[str, str], path: str) -> str:
    """What the engine itself reads; a variable that is missing is empty there."""
    with open(path, "w") as file:
        file.write(config)
    argv = [str(locate_engine()), "-c", path, "echo"]
    done = subprocess.run(argv, env=environment, capture_output=True, check=True)
    return mapping_of(done.stdout.decode())


@settings(max_examples=150, deadline=None)
@given(text=texts, environment=environments)
@example(text="${A:${x}} ${A:${x} ${{A:${x}}} ${{A:${x}} ${{{A}}}", environment={"A": "", "E": ""})
@example(text="${A:${}} ${A:}} ${:x} ${A${B_2:y}}", environment={"A": "v", "E": ""})
def test_the_text_is_what_the_engine_itself_reads(tmp_path_factory, text, environment):
    config = HEAD + text + TAIL
    path = str(tmp_path_factory.getbasetemp() / "echoed.yaml")
    ours, missing = substitute(config.encode(), environment)
    assert mapping_of(ours.decode()) == engines_own(config, environment, path)
    assert set(missing) <= {"NOPE", "a.b", "B_2", "x", "y"} | {m for m in missing if m in text}


@given(text=texts, environment=environments)
@settings(max_examples=500)
def test_what_is_protected_passes_unchanged_through_a_second_pass(text, environment):
    once, _ = substitute(text.encode(), environment)
    if unprotectable(once) is None:
        assert substitute(protect(once), {"PATH": "/bin"}) == (once, [])


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("${A} ${NOPE}", ["NOPE"]),
        ("${NOPE:d} ${{NOPE}} ${!NOPE}", []),
        ("${A.b} ${C} ${C}", ["A.b", "C", "C"]),
        ("${NOPE:${C}}", []),
    ],
)
def test_what_is_missing_is_what_the_engine_misses(tmp_path, text, missing):
    file = tmp_path / "config.yaml"
    file.write_text(
        f"input: {{generate: {{mapping: 'root = \"{text}\"'}}}}\noutput: {{drop: {{}}}}\n"
    )
    argv = [str(locate_engine()), "lint", str(file)]
    done = subprocess.run(argv, env={"A": "v"}, capture_output=True, check=False)
    said = f"[{' '.join(missing)}]".encode()
    assert (said in done.stdout + done.stderr) == bool(missing)
    assert substitute(file.read_bytes(), {"A": "v"})[1] == missing


def test_interpolation_functions_stay():
    text = b'root = "${!json("a")} ${! count("x") }"'
    assert substitute(text, {"json": "no"}) == (text, [])
    assert protect(text) == text


@pytest.mark.parametrize(
    "text", [b"${A:" + b"${" * 100_000, b"${{A:${b}" * 1500, b"${A:${b}" * 20_000]
)
def test_no_text_takes_long(text):
    began = time.process_time()
    substitute(text, {})
    assert time.process_time() - began < 5.0


async def test_a_real_host_reads_what_an_engine_of_its_own_would(streams_rig: StreamsRig):
    """The host's own environment holds none of the names, and what looks like a name stays a text."""
    rig = streams_rig
    text = "${GREETING} ${NOPE:d} ${{NOT}} ${PATH:none} ${NEXTHOS_PIPELINE}/${NEXTHOS_REPLICA}"
    config = (
        f"input: {{generate: {{mapping: 'root = \"{text}\"'}}}}\noutput: {{drop: {{}}}}\n".encode()
    )
    env = {"GREETING": "hi ${NAME} ${HOME}", "PATH": "mine"}
    spec = rig.spec("orders", config=config, env=env)
    execution = await rig.executor.start(spec, 2)
    assert execution.state == "running"
    host = rig.host_of(execution)[1]
    held = rig.ask(host, f"/streams/{execution.name}")["config"]["input"]["generate"]["mapping"]
    assert held == 'root = "hi ${NAME} ${HOME} d ${NOT} mine orders/2"'


async def test_a_hosts_environment_holds_the_path_and_settings_of_its_collector_only(
    streams_rig: StreamsRig,
):
    rig = streams_rig
    execution = await rig.executor.start(rig.spec(env={"A": "1"}), 0)
    pid = rig.host_of(execution)[1]["pid"]
    given = Path(f"/proc/{pid}/environ").read_bytes()
    names = {part.partition(b"=")[0] for part in given.split(b"\0") if part}
    assert names == {b"PATH", b"GOGC", b"NEXTHOS_GC_HEADROOM"}


async def test_nobody_else_gets_at_a_hosts_streams(streams_rig: StreamsRig):
    """Its API shows values and would run anything: password and path stand in a file that is ours alone."""
    rig = streams_rig
    execution = await rig.executor.start(rig.spec(), 0)
    folder, host = rig.host_of(execution)
    assert rig.ask({**host, "password": "guessed"}, "/streams") is None
    assert rig.ask({**host, "token": "", "password": ""}, "/streams") is None
    assert rig.ask(host, "/ping") == "pong"
    shown = rig.shown(execution)
    secret = base64.b64encode(host["password"].encode()).decode()
    assert host["token"] not in shown
    assert host["password"] not in shown
    assert secret not in shown
    assert all((folder / name).stat().st_mode & 0o077 == 0 for name in ("root.yaml", "host.json"))
    await eventually(lambda: rig.alive(execution.name) == 1)
