"""When the engine collects its garbage: asked of the runtime's own trace, a line for each collection."""

import itertools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from nexthos_shared.names import ENV_GC_HEADROOM

ENGINE = Path(sys.executable).parent / "nexthos-engine"
HEADROOM = 16  # MiB
GIVEN = {"GOGC": "50", ENV_GC_HEADROOM: str(HEADROOM << 20)}

# Messages of 5 kB: garbage at once, 100 MB in all; or the first 18,000 stay until the end, 90 MB.
CONFIG = """
http: {enabled: false}
logger: {level: "OFF"}  # the runtime writes its lines piece by piece
input:
  generate:
    count: %d
    interval: ""
    mapping: 'root = [count("n"), 18000].min().string() + "x".repeat(5000)'
pipeline:
  threads: 1
  processors: [%s]
output: {drop: {}}
cache_resources:
  - label: kept
    memory: {compaction_interval: ""}
"""
PASSING = CONFIG % (20_000, "")
KEY, VALUE = "${! content().slice(0, 8) }", "${! content() }"
KEEP = f"{{cache: {{resource: kept, operator: set, key: '{KEY}', value: '{VALUE}'}}}}"
GROWING = CONFIG % (18_000, KEEP)
GROWN = CONFIG % (60_000, KEEP)
RESTING = CONFIG % (
    18_000,
    KEEP + ", {mapping: 'root = content().slice(0, 5)'}, {sleep: {duration: '%s'}}",
)

LINE = re.compile(r"->(\d+) MB, (\d+) MB goal, (\d+) MB stacks, (\d+) MB globals")


@dataclass(frozen=True)
class Growth:
    """What one collection left, and by how much the heap may grow until the next; in MiB, rounded."""

    base: int  # live heap, stacks and globals: what Go takes its percentage of
    allowed: int


def trace(folder: Path, config: str, **environment: str) -> str:
    """What the runtime says of its collections while that runs."""
    file = folder / "config.yaml"
    file.write_text(config)
    said = subprocess.run(
        [ENGINE, "-c", file],
        env={"PATH": os.defpath, "GODEBUG": "gctrace=1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return said.stderr


def growths(folder: Path, config: str, **environment: str) -> list[Growth]:
    lines = [
        [int(n) for n in found] for found in LINE.findall(trace(folder, config, **environment))
    ]
    return [
        Growth(live + stacks + globals_, goal - live)
        for (live, _, stacks, globals_), (_, goal, _, _) in itertools.pairwise(lines)
    ]


def late(found: list[Growth]) -> list[Growth]:
    """Without what was before `main`, where the percentage alone decides."""
    return found[len(found) // 2 :]


def usual(found: list[Growth]) -> float:
    """What is allowed by what the headroom makes of the base.

    The median: on a busy machine the engine learns of a collection late, and one growth in ten or twenty
    is still by what the one before had found.
    """
    return median(growth.allowed / max(growth.base / 2, HEADROOM) for growth in found)


def test_a_small_heap_grows_by_the_headroom_and_is_collected_less_often_than_by_default(tmp_path):
    default, given = growths(tmp_path, PASSING), growths(tmp_path, PASSING, **GIVEN)

    assert median(growth.base for growth in given) < HEADROOM
    assert usual(late(given)) == pytest.approx(1, abs=0.1)
    assert len(given) < len(default)


def test_a_large_heap_grows_by_the_percentage(tmp_path):
    found = late(growths(tmp_path, GROWN, **GIVEN))

    assert median(growth.base for growth in found) > 3 * HEADROOM
    assert usual(found) == pytest.approx(1, abs=0.1)


def test_while_what_lives_grows_it_may_double(tmp_path):
    found = [growth for growth in growths(tmp_path, GROWING, **GIVEN) if growth.base > HEADROOM]

    assert median(growth.allowed / growth.base for growth in found) == pytest.approx(1, abs=0.1)


def test_what_growing_left_behind_is_given_back_once_when_it_rests(tmp_path):
    grown = '${! if content() == "18000" { "20s" } else { "0s" } }'
    said = trace(tmp_path, RESTING % grown, **GIVEN)

    assert said.count("(forced)") == 1
    assert trace(tmp_path, RESTING % "0s", **GIVEN).count("(forced)") == 0


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, 1.0),
        ({"GOGC": "50"}, 0.5),
        ({"GOGC": "50", ENV_GC_HEADROOM: "16MiB"}, 0.5),
        ({"GOGC": "50", ENV_GC_HEADROOM: ""}, 0.5),
    ],
)
def test_without_a_headroom_that_it_can_read_an_engine_does_as_go_does(
    tmp_path, environment, share
):
    found = growths(tmp_path, GROWING, **environment)

    assert max(growth.base for growth in found) > HEADROOM
    for growth in found:  # of its base, that is of three numbers rounded down
        assert growth.base * share - 1 <= growth.allowed <= (growth.base + 3) * share + 1


def test_a_headroom_does_not_switch_a_collector_on_that_is_off(tmp_path):
    assert growths(tmp_path, PASSING, **{**GIVEN, "GOGC": "off"}) == []
