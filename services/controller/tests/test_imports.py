"""What an engine's lint reads besides the configuration, and what is told of it: nothing of a file."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

import pytest

from nexthos_controller.cache.catalog import Catalog
from nexthos_controller.cache.configurations import Facts
from nexthos_controller.execution import Spec
from nexthos_controller.executors.contract import Connection
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_controller.executors.fake.executor import fake_context
from nexthos_controller.executors.shared.imports import UNSAID, may_import, without_files
from nexthos_shared import engine, names
from nexthos_shared.engine import locate_engine
from nexthos_shared.model import Pipeline
from nexthos_shared.process.engine_user import EngineUser
from nexthos_shared.reasons import Problem, Reason

SECRET = "zqzq7xkW9vJ"
FILES = {
    "text": f"{SECRET}\n",
    "line": f"user:{SECRET}:0:0\n",
    "map": f"map {SECRET} {{\n  root = {SECRET}(this)\n}}\n",
    "call": f'root.a = "x".{SECRET}()\n',
    "chain": f'import "./{SECRET}"\n',
    "twice": f"map {SECRET} {{ root = this }}\nmap {SECRET} {{ root = this }}\n",
    "quoted": f'"{SECRET}"\n',
}
NO = "input: {generate: {mapping: 'root = 1'}}\noutput: {drop: {}}\n"


def mapping(text: str) -> str:
    return f"input:\n  generate:\n    mapping: {text}\noutput: {{drop: {{}}}}\n"


FORMS = {
    "import": lambda f: mapping(f"'import \"{f}\"'"),
    "from": lambda f: mapping(f"'from \"{f}\"'"),
    "block": lambda f: mapping(f'|\n      # a comment\n\n      from   "{f}"'),
    "tab": lambda f: mapping(f"'import\t\"{f}\"'"),
    "folded": lambda f: mapping(f'import\n      "{f}"'),
    "quotes": lambda f: mapping(f'"import \\"{f}\\""'),
    "escape": lambda f: mapping(f'"\\x69mport \\u0022{f}\\""'),
    "escaped tab": lambda f: mapping(f'"from\\t\\"{f}\\""'),
    "continued": lambda f: mapping(f'"imp\\\n      ort \\"{f}\\""'),
    "base64": lambda f: mapping("!!binary " + base64.b64encode(f'import "{f}"'.encode()).decode()),
    "long tag": lambda f: mapping(
        "!<tag:yaml.org,2002:binary> " + base64.b64encode(f'from "{f}"'.encode()).decode()
    ),
    "variable": lambda f: mapping(f"'${{WORD}} \"{f}\"'"),
    "half a variable": lambda f: mapping(f"'im${{NONE:port}} \"{f}\"'"),
    "two variables": lambda f: mapping(f"'${{A}}${{B}} \"{f}\"'"),
    "pipeline's name": lambda f: mapping(f"'${{NEXTHOS_PIPELINE}} \"{f}\"'"),
    "triple quotes": lambda f: mapping(f'\'import """{f}"""\''),
    "json": lambda f: (
        '{"input": {"generate": {"mapping": "\\u0066rom \\"' + f + '\\""}}, "output": {"drop": {}}}'
    ),
    "check": lambda f: (
        "input: {generate: {mapping: root = 1}}\noutput: {switch: {cases: [{check: "
        + f"'import \"{f}\"', output: {{drop: {{}}}}}}]}}}}\n"
    ),
}
ENV = {"WORD": "import", "A": "fr", "B": "om"}


class Somewhere(FakeExecutor):
    """Elsewhere, as containers are; or here, as processes are."""

    def __init__(self, here: bool) -> None:
        super().__init__(fake_context(), FakeWorld())
        self.here = here


class Bytes:
    """A store of one configuration."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def get(self, *_: object, **__: object) -> bytes:
        return self.content


async def lint(config: str, *, here: bool) -> tuple[Problem, ...]:
    content = config.encode()
    definition = Pipeline.model_validate(
        {"status": "published", "version": "1", "env": ENV}, strict=False
    )
    digest = names.digest_of(content)
    spec = Spec("import", 1, definition.spec_hash(digest), digest, "x", definition)
    catalog = Catalog(
        engines={"default": locate_engine()},
        images={},
        connections={"default": Connection("nats://127.0.0.1:1")},
    )
    facts = Facts(Bytes(content), catalog)  # type: ignore[arg-type]
    await facts.lint(spec, Somewhere(here))
    return facts.lints()[spec.spec_hash]


def pieces(text: str) -> set[str]:
    return {text[n : n + 4] for n in range(len(text) - 3)}


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text(FILES[request.param])
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.fault(113)
async def test_no_form_of_an_import_shows_a_file_of_this_machine(form, tmp_path):
    file = tmp_path / "file"
    file.write_text(FILES["line"])
    config = FORMS[form](str(file))

    elsewhere = await lint(config, here=False)
    assert [p.reason for p in elsewhere] == [Reason.NOT_LINTED]
    here = await lint(config, here=True)
    assert here, "the engine did read it"
    for problem in (*elsewhere, *here):
        assert not pieces(SECRET) & pieces(problem.message)
        assert ":" + SECRET[:3] not in problem.message


@pytest.mark.parametrize("form", ["import", "from"])
async def test_no_kind_of_file_is_quoted(form, file):
    problems = await lint(FORMS[form](str(file)), here=True)
    assert problems, "the engine did read it"
    for problem in problems:
        assert not pieces(SECRET) & pieces(problem.message)
        assert SECRET[:3] not in problem.message


@pytest.mark.fault(113)
async def test_where_the_file_is_not_it_is_not_even_opened(tmp_path):
    """A pipe that nobody writes to would hold up who opens it, and /dev/zero never ends."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    assert [p.reason for p in await lint(FORMS["import"](str(pipe)), here=False)] == [
        Reason.NOT_LINTED
    ]
    with pytest.raises(OSError, match="No such device or address"):
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # nobody reads it


async def test_a_file_that_is_right_passes_where_it_runs(tmp_path):
    (tmp_path / "maps").write_text("map m { root = this }\n")

    assert (
        await lint(mapping(f'|\n      import "{tmp_path}/maps"\n      root = 1'), here=True) == ()
    )


@pytest.mark.parametrize(
    "config",
    [
        NO,
        mapping("'root.from = 1 # import nothing'"),
        mapping("'root = this.a != 2 && !this.b'"),
        mapping('"root = \\"\\u00e9\\""'),
        "input: {nats: {subject: import, urls: ['${URL:nats://x}']}}\n",
        "output: {http_client: {url: 'http://x/${! json(\"from\") }', headers: {a: '${!id}'}}}\n",
    ],
)
def test_what_imports_nothing_is_asked_as_ever(config):
    assert may_import(config.encode(), {}) is False


@pytest.mark.parametrize("config", [b"\xff from", b"\xff\\x"])
def test_what_is_no_text_is_refused_as_ever(config):
    assert may_import(config, {}) is False


@pytest.mark.parametrize(
    "message", ["field bogus not recognised", "field name is required", "yaml: did not find"]
)
def test_what_speaks_of_fields_is_kept(message):
    problem = Problem(Reason.LINT_FAILED, message, line=3)

    assert without_files(problem) is problem
    said = without_files(
        Problem(Reason.LINT_FAILED, "expected whitespace, got: :tops: impor", line=3)
    )
    assert (said.message, said.line) == (UNSAID, 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users")
async def test_lint_reads_what_the_engines_user_reads(tmp_path):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to all others anyway
        Path(folder).chmod(0o711)
        file = Path(folder) / "secret"
        file.write_text(FILES["line"])
        file.chmod(0o600)
        config = FORMS["import"](str(file)).encode()
        user = EngineUser(64_017, 64_017)
        [refused] = await engine.lint(locate_engine(), config, {"PATH": ""}, user=user)
        [read] = await engine.lint(locate_engine(), config, {"PATH": ""})
        passed = await engine.lint(locate_engine(), NO.encode(), {"PATH": ""}, user=user)

    assert "permission denied" in refused.message
    assert SECRET[:3] in read.message  # or the line above would show nothing
    assert passed == []
