"""Which errors a configuration deals with itself, judged by what a real engine logs of it."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_shared.engine import handled, locate_engine

INPUT = "input: {generate: {mapping: 'root = {}', count: 1, interval: ''}}\n"
FAILS = "mapping: 'root = this.a.uppercase()'"
CLOSED = "http_client: {url: 'http://127.0.0.1:1/', retries: 0, retry_period: 1ms}"
SOON = "backoff: {initial_interval: 1ms, max_interval: 1ms}"
RETRIED = f"{{retry: {{{SOON}, output: {{{CLOSED}}}}}}}"
RETRIED_ONCE = f"{{retry: {{max_retries: 1, {SOON}, output: {{{CLOSED}}}}}}}"
ENOUGH = 6  # errors: what is rejected comes again for ever
DROP = "output: {drop: {}}\n"


def steps(*processors: str) -> str:
    return "pipeline:\n  processors:\n" + "".join(f"    - {{{p}}}\n" for p in processors)


DEALT_WITH = {
    "caught": steps(FAILS, "catch: [{mapping: 'root = {}'}]") + DROP,
    "caught later": steps(FAILS, "mapping: 'root = this'", "catch: [{log: {}}]") + DROP,
    "in a branch": steps(f"branch: {{processors: [{{{FAILS}}}]}}", "catch: [{log: {}}]") + DROP,
    "in a try": steps(f"try: [{{{FAILS}}}]", "catch: [{log: {}}]") + DROP,
    "caught in a try": steps(f"try: [{{{FAILS}}}, {{catch: [{{log: {{}}}}]}}]") + DROP,
    "in a switch": steps(f"switch: [{{processors: [{{{FAILS}}}]}}]", "catch: [{log: {}}]") + DROP,
    "caught in a case": steps(
        f"switch: [{{processors: [{{{FAILS}}}, {{catch: [{{log: {{}}}}]}}]}}]"
    )
    + DROP,
    "for each": steps(f"for_each: [{{{FAILS}}}]", "catch: [{log: {}}]") + DROP,
    "in a workflow": steps(
        f"workflow: {{meta_path: '', branches: {{a: {{processors: [{{{FAILS}}}]}}}}}}",
        "catch: [{log: {}}]",
    )
    + DROP,
    "asked for": steps(FAILS, "mapping: 'root = if errored() { deleted() } else { this }'") + DROP,
    "a case of errors": steps(FAILS, "switch: [{check: 'errored()', processors: [{log: {}}]}]")
    + DROP,
    "kept": steps(FAILS, "mapping: 'root.why = error()'") + DROP,
    "of a resource": steps("resource: r", "catch: [{log: {}}]")
    + DROP
    + f"processor_resources: [{{label: r, {FAILS}}}]\n",
    "routed": steps(FAILS)
    + "output: {switch: {cases: [{check: 'errored()', output: {drop: {}}}, {output: {drop: {}}}]}}\n",
    "diverted": steps(FAILS) + "output: {fallback: [{reject_errored: {drop: {}}}, {drop: {}}]}\n",
    "another output": f"output: {{fallback: [{{{CLOSED}}}, {{drop: {{}}}}]}}\n",
    "dropped": f"output: {{drop_on: {{error: true, output: {{{CLOSED}}}}}}}\n",
    "dropped by pattern": (
        f"output: {{drop_on: {{error_patterns: ['.*'], output: {{{CLOSED}}}}}}}\n"
    ),
    "retried, then another output": f"output: {{fallback: [{RETRIED_ONCE}, {{drop: {{}}}}]}}\n",
    "another output, retried": (
        f"output: {{retry: {{output: {{fallback: [{{{CLOSED}}}, {{drop: {{}}}}]}}}}}}\n"
    ),
    "a retry caught later": steps(
        f"retry: {{max_retries: 1, processors: [{{{FAILS}}}]}}", "catch: [{log: {}}]"
    )
    + DROP,
    "of the input": INPUT.replace("}}\n", f"}}, processors: [{{{FAILS}}}]}}\n")
    + steps("catch: [{log: {}}]")
    + DROP,
}
NOT_DEALT_WITH = {
    "a mapping": steps(FAILS) + DROP,
    "a catch before": steps("catch: [{log: {}}]", FAILS) + DROP,
    "in the catch": steps("mapping: 'root = throw(\"a\")'", f"catch: [{{{FAILS}}}]") + DROP,
    "a try alone": steps(f"try: [{{{FAILS}}}]") + DROP,
    "a catch of another": steps(FAILS, "branch: {processors: [{catch: [{log: {}}]}]}") + DROP,
    "a word in a mapping": steps(FAILS, "mapping: 'root.x = this.y.catch(1)'") + DROP,
    "a closed output": f"output: {{{CLOSED}, drop_after: 1}}\n".replace(", drop_after: 1", ""),
    "the last output": f"output: {{fallback: [{{{CLOSED}}}, {{{CLOSED}}}]}}\n",
    "retried": f"output: {RETRIED}\n",
    "retried once": f"output: {RETRIED_ONCE}\n",
    "retried for ever before another": f"output: {{fallback: [{RETRIED}, {{drop: {{}}}}]}}\n",
    "retried for ever, never dropped": f"output: {{drop_on: {{error: true, output: {RETRIED}}}}}\n",
    "dropped when slow": f"output: {{drop_on: {{back_pressure: 10s, output: {{{CLOSED}}}}}}}\n",
    "a retry": steps(f"retry: {{max_retries: 3, processors: [{{{FAILS}}}]}}") + DROP,
    "rejected": steps(FAILS) + "output: {reject_errored: {drop: {}}}\n",
}


def errors_of(config: str) -> set[str]:
    """The components that an engine logs errors of, until it ends or has logged a few."""
    argv = [
        str(locate_engine()),
        *("run", "-s", "http.enabled=false", "-s", "logger.format=json"),
        *("-s", "shutdown_timeout=100ms", "/dev/stdin"),
    ]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as engine:
        assert engine.stdin is not None
        assert engine.stdout is not None
        engine.stdin.write(config)
        engine.stdin.close()
        found: list[str] = []
        for line in engine.stdout:
            entry = json.loads(line) if line.startswith("{") else {}
            if entry.get("level") == "error":
                found.append(entry.get("path", ""))
            if len(found) == ENOUGH:
                break
        engine.kill()
    assert found
    return set(found)


def is_handled(path: str, config: str) -> bool:
    return any(path == h or path.startswith(f"{h}.") for h in handled(config.encode()))


def whole(config: str) -> str:
    return config if config.startswith("input") else INPUT + config


@pytest.mark.parametrize("config", DEALT_WITH.values(), ids=DEALT_WITH.keys())
def test_what_a_configuration_deals_with_is_known_by_the_paths_of_the_engines_log(config):
    config = whole(config)
    assert [path for path in errors_of(config) if not is_handled(path, config)] == []


@pytest.mark.parametrize("config", NOT_DEALT_WITH.values(), ids=NOT_DEALT_WITH.keys())
def test_what_nobody_deals_with_is_not_taken_for_handled(config):
    config = whole(config)
    assert [path for path in errors_of(config) if not is_handled(path, config)]


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: f"catch: {t}".encode()))
def test_it_never_raises(config: bytes):
    assert isinstance(handled(config), tuple)
