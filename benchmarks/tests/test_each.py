from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.tests.running import benchmarks, ended, leftovers


async def measured(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """The figures of one benchmark, run for a moment."""
    code, out, err = await ended(await benchmarks(folder, "--only", name, "-o", "json"))
    assert code == 0, err
    assert leftovers(folder) == []
    return {figure["what"]: figure for figure in json.loads(out)["figures"]}


def ours(figures: dict[str, dict[str, Any]], words: str) -> list[float]:
    [found] = [f["ours"] for what, f in figures.items() if words in what]
    return list(found)


async def test_a_stream_is_compared_with_a_raw_post(tmp_path: Path) -> None:
    figures = await measured(tmp_path, "publish-ready-streams")
    for words in ("publish -> /ready", "first message", "status Running", "create of a prepared"):
        assert min(ours(figures, words)) > 0.0005  # seconds: no engine answers faster


async def test_streams_are_counted_and_none_is_restarted_by_a_death_beside_it(
    tmp_path: Path,
) -> None:
    figures = await measured(tmp_path, "streams")
    assert ours(figures, "hosts") == [2]
    assert ours(figures, "streams restarted") == [0]
    assert ours(figures, "others restarted") == [0]
    assert ours(figures, "lost meanwhile") == ours(figures, "others lost") == [0]
    memory = next(f for what, f in figures.items() if what.endswith("each, PSS"))
    assert 0 < min(memory["ratio"].values()) < 1


async def test_what_is_idle_is_watched_in_one_window_with_nothing(tmp_path: Path) -> None:
    figures = await measured(tmp_path, "idle")
    traffic = figures["NATS, 20 pipelines idle: messages an hour"]
    assert len(traffic["ours"]) == len(traffic["other"]) == 1
    assert min(traffic["ours"] + traffic["other"]) > 0  # a lease is kept


async def test_messages_flow_through_a_process_a_stream_and_an_engine_by_hand(
    tmp_path: Path,
) -> None:
    figures = await measured(tmp_path, "throughput")
    assert min(figures["messages per second, process"]["ours"]) > 100
    assert min(figures["messages per second, streams"]["ours"]) > 100


async def test_stored_pipelines_are_points_of_curves(tmp_path: Path) -> None:
    figures = await measured(tmp_path, "scale")
    boot = figures["100 stored: boot, CPU"]
    assert boot["point"] == {"curve": "boot, CPU", "pipelines": 100}
    assert min(ours(figures, "at rest, p50")) > 0


async def test_a_controller_can_be_sampled(tmp_path: Path) -> None:
    arguments = ("boot", "--pipelines", "20", "--folder", str(tmp_path / "results"))
    code, out, err = await ended(await benchmarks(tmp_path, *arguments, module="profile"))
    assert code == 0, err
    assert "nexthos_controller" in out
    assert {f.suffix for f in (tmp_path / "results").iterdir()} == {".html", ".txt"}
    assert leftovers(tmp_path) == []
