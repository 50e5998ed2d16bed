"""`nexthos dev` as people use it: a folder, an editor, a second terminal, Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nexthos_testing.dev import Dev
from nexthos_testing.field import ECHO, Field, field_of
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

Make = Callable[..., Dev]

# Takes a message and holds it for a minute: an engine that does not drain within any grace here.
HOLDS = """\
input: {generate: {interval: "", count: 1, mapping: 'root = "held"'}}
pipeline: {processors: [{log: {message: holding}}, {sleep: {duration: 60s}}]}
output: {drop: {}}
"""
TEN = """\
schema: 1
lifecycle: job
config: |
  input: {generate: {interval: "", count: 10, mapping: 'root = "x"'}}
  output: {drop: {}}
"""
UNREACHABLE = """\
input: {nats: {urls: ["nats://127.0.0.1:1"], subject: a}}
output: {drop: {}}
"""


def echo(mark: str) -> str:
    return ECHO.format(inlet="in.orders", outlet="out.orders", mark=mark)


class Somebody(Field):
    """Sends to the subjects that `echo` names."""

    def inlet(self, key: str) -> str:
        return f"in.{key}"

    def outlet(self, key: str) -> str:
        return f"out.{key}"


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Dev] = []

    def one(name: str = "dev", folder: str = "pipelines") -> Dev:
        made.append(Dev(tmp_path / f"{name}-home", tmp_path / folder))
        return made[-1]

    yield one
    for dev in made:
        await dev.clean()


@pytest.fixture
def dev(make: Make) -> Dev:
    return make()


async def answer(dev: Dev, words: str) -> None:
    """Wait until the pipeline `orders` answers so."""
    async with dev.user() as user:
        await Somebody(user.nc, user.names).until_it_says("orders", words)


# ---- edits


async def test_an_edited_files_messages_appear(dev: Dev) -> None:
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answer(dev, "v1 hello")
    dev.write("orders.yaml", echo("v2"))
    await answer(dev, "v2 hello")
    dev.signal()
    assert await dev.ends() == 0


async def test_a_file_saved_later_runs_too_in_a_folder_that_was_empty(dev: Dev) -> None:
    await dev.start()
    await dev.says("nothing to run in .*pipelines: no manifest")
    dev.write("below/orders.yaml", echo("v1"))
    await answer(dev, "v1 hello")


async def test_a_broken_file_names_file_and_line_while_the_old_one_runs(dev: Dev) -> None:
    file = dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answer(dev, "v1 hello")
    before = dev.engines()
    file.write_text(echo("v2").replace("mapping:", "mappping:"))
    await dev.says(r"error: .*orders\.yaml:8:\d+: .*mappping.*\(ComponentMissing\)")
    await answer(dev, "v1 hello")
    assert dev.engines() == before
    file.write_text(echo("v3"))
    await dev.says(r"orders\.yaml: is all right now")
    await answer(dev, "v3 hello")


async def test_a_deleted_file_stops_its_pipeline(dev: Dev) -> None:
    file = dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answer(dev, "v1 hello")
    file.unlink()
    await dev.says(r"pipeline/orders deleted \(.*orders\.yaml is gone\)")
    await eventually(lambda: not dev.engines())
    async with dev.user() as user:

        async def has_no_status() -> bool:
            return await user.status("orders") is None

        await eventually(has_no_status)


async def test_a_file_moved_away_and_written_anew_does_not_restart_the_pipeline(dev: Dev) -> None:
    file = dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answer(dev, "v1 hello")
    before = dev.engines()
    backup = file.rename(file.with_name("orders.yaml~"))
    file.write_text(backup.read_text())
    dev.write("more.yaml", TEN)
    await dev.says("pipeline/more created")
    await dev.says("more .*Completed")
    assert "orders deleted" not in dev.output
    assert dev.engines() == before


async def test_a_file_deleted_between_two_runs_is_removed_and_another_pipeline_left_alone(
    dev: Dev,
) -> None:
    file = dev.write("gone.yaml", TEN)
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await dev.says("gone .*Completed")
    async with dev.user() as user:
        await user.echo("by-hand")
        await user.put("by-hand")
        await user.reaches("by-hand", "Running")
    dev.signal(signal.SIGTERM)
    assert await dev.ends() == 0
    file.unlink()
    await dev.start()
    await dev.says("pipeline/gone deleted")
    async with dev.user() as user:
        assert await user.says("by-hand") == "v1 hello"
    await answer(dev, "v1 hello")
    assert "by-hand deleted" not in dev.output


# ---- starts


async def test_a_second_start_resumes_what_was_stored_and_paused(dev: Dev) -> None:
    dev.write("orders.yaml", echo("v1"))
    dev.write("other.yaml", TEN)
    await dev.start()
    async with dev.user() as user:
        await user.js.add_stream(name="KEPT", subjects=["kept.*"])
        await user.js.publish("kept.a", b"1")
        await user.reaches("orders", "Running")
        entry = await (await user.pipelines()).get("orders")
        paused = entry.value.replace(b'"published"', b'"paused"')
        await user.put_raw("orders", paused)
        await user.reaches("orders", "Paused")
    dev.signal()
    await dev.ends()
    await dev.start()
    await dev.says("pipeline/orders unchanged")
    await dev.says(r"orders +Paused")
    async with dev.user() as user:
        assert (await user.js.stream_info("KEPT")).state.messages == 1
        assert await user.phase("orders") == "Paused"
    assert dev.engines() == []


async def test_a_clean_start_forgets_everything(dev: Dev) -> None:
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    async with dev.user() as user:
        await user.js.add_stream(name="KEPT", subjects=["kept.*"])
    dev.signal()
    await dev.ends()
    await dev.start("--clean")
    await dev.says("pipeline/orders created")
    async with dev.user() as user:
        assert "KEPT" not in {s.config.name for s in await user.js.streams_info()}
    await answer(dev, "v1 hello")


@pytest.mark.fault(88)
async def test_two_devs_of_the_same_namespace_never_touch_each_others_processes(make: Make) -> None:
    # One home: the same state folder, as when one person runs two.
    first, second = make("same", "first"), make("same", "second")
    for dev, mark in ((first, "first"), (second, "second")):
        dev.write("orders.yaml", echo(mark))
        await dev.start()
        await answer(dev, f"{mark} hello")
    assert await first.url() != await second.url()
    second.signal()
    assert second.process is not None
    await second.process.wait()
    await answer(first, "first hello")
    assert len(first.engines()) == 1
    first.signal()
    await first.ends()


async def test_a_second_dev_of_the_same_folder_says_so(make: Make) -> None:
    first, second = make(), make()
    first.write("orders.yaml", echo("v1"))
    await first.start()
    await answer(first, "v1 hello")
    await second.start()
    assert second.process is not None
    assert await second.process.wait() == 1
    assert "another `nexthos dev` runs this folder; end it first" in second.output
    await answer(first, "v1 hello")


async def test_a_server_that_is_there_is_used_and_left_with_its_pipelines(
    dev: Dev, nats_server: NatsServer, namespace: str
) -> None:
    dev.namespace = namespace
    file = dev.write("orders.yaml", echo("v1"))
    async with field_of(nats_server.url, namespace) as user:
        await dev.start("-s", nats_server.url)
        await answer(dev, "v1 hello")
        await user.echo("by-hand")
        await user.put("by-hand")
        await user.reaches("by-hand", "Running")
        file.unlink()
        await dev.says("pipeline/orders deleted")
        dev.signal()
        assert await dev.ends() == 0
        entry = await (await user.pipelines()).get("by-hand")
        assert b"published" in entry.value


async def test_a_taken_port_is_told_and_another_one_used(dev: Dev, nats_server: NatsServer) -> None:
    dev.write("orders.yaml", echo("v1"))
    await dev.start("--port", str(nats_server.port))
    await dev.says(f"port {nats_server.port} is taken")
    assert await dev.url() != nats_server.url
    await answer(dev, "v1 hello")


async def test_a_server_that_does_not_answer_is_named_and_ctrl_c_ends_the_wait(dev: Dev) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    await dev.start("-s", url)
    await dev.says(f"connecting to {url}")
    dev.signal()
    assert await dev.ends() == 130


# ---- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_with_its_engines_and_its_server(
    dev: Dev, number: signal.Signals
) -> None:
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answer(dev, "v1 hello")
    assert len(dev.alive()) == 3  # server, shim, engine
    dev.signal(number)
    assert await dev.ends() == 0


async def test_a_signal_while_it_starts_ends_it_too(dev: Dev) -> None:
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await eventually(dev.alive)  # the server is there, nothing else is
    dev.signal()
    assert await dev.ends() in (0, 130)


async def test_an_engine_that_does_not_drain_gets_three_seconds(dev: Dev) -> None:
    dev.write("holds.yaml", HOLDS)
    await dev.start()
    await dev.says("holds .*holding")
    dev.signal(signal.SIGTERM)
    assert await dev.ends() == 0
    assert "killing what still runs" not in dev.output


async def test_a_second_ctrl_c_kills_at_once(dev: Dev) -> None:
    dev.write("holds.yaml", HOLDS)
    await dev.start()
    await dev.says("holds .*holding")
    dev.signal()
    await dev.says("engines get 3 s to drain")
    dev.signal()
    await dev.says("killing what still runs: holds")
    assert await dev.ends() == 0


async def test_it_ends_by_itself_with_the_tables_and_zero_when_all_is_ready_or_completed(
    dev: Dev,
) -> None:
    to_stream = TEN.replace("drop: {}", 'nats_jetstream: {urls: ["${NATS_URL}"], subject: t.a}')
    dev.write("nats.yaml", "streams: [{name: T, subjects: [t.*]}]\n")
    dev.write("job.yaml", to_stream)
    dev.write("orders.yaml", echo("v1"))
    await dev.start("--for", "2s")
    assert await dev.ends(within=20.0) == 0, dev.output
    tables = dev.output[dev.output.rindex("PIPELINE ") :]
    rows = {line.split()[0]: line.split()[1:] for line in tables.splitlines() if line.strip()}
    assert rows["job"][:2] + rows["job"][3:6] == ["Completed", "0/1", "10", "10", "0"]
    assert rows["orders"][:2] + rows["orders"][3:6] == ["Running", "1/1", "0", "0", "0"]
    assert rows["t.a"] == ["10", "10"]


async def test_counts_are_of_this_run_not_of_one_before(dev: Dev) -> None:
    dev.write("job.yaml", TEN)
    for received in ("10", "0"):
        await dev.start("--for", "1s")
        assert await dev.ends(within=20.0) == 0, dev.output
        (row,) = (r.split() for r in dev.output.splitlines() if r.startswith("job "))
        assert (row[1], row[4]) == ("Completed", received)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("broken.yaml", "input: {nope: {}}\noutput: {drop: {}}\n", "with errors: .*broken.yaml"),
        ("alone.yaml", UNREACHABLE, "not ready or completed: alone"),
    ],
)
async def test_a_broken_file_or_a_pipeline_that_never_connects_gives_one(
    dev: Dev, name: str, text: str, words: str
) -> None:
    dev.write(name, text)
    dev.write("orders.yaml", echo("v1"))
    await dev.start("--for", "2s")
    assert await dev.ends(within=20.0) == 1
    await dev.says(words)


async def test_with_nothing_to_run_it_says_so_and_ends_well(dev: Dev) -> None:
    await dev.start("--for", "200ms")
    assert await dev.ends(within=20.0) == 0
    assert dev.output.count("nothing to run in") == 2


# ---- crashes


@pytest.mark.parametrize("again", [(), ("--clean",)], ids=["resumed", "clean"])
async def test_what_a_killed_dev_left_running_is_ended_by_the_next_start(
    dev: Dev, again: tuple[str, ...]
) -> None:
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answer(dev, "v1 hello")
    await dev.kill()
    left = set(dev.alive())
    assert len(left) == 3
    await dev.start(*again)
    await answer(dev, "v1 hello")
    assert not left & set(dev.alive())
    assert len(dev.alive()) == 3
    dev.signal()
    assert await dev.ends() == 0


async def test_a_server_killed_underneath_does_not_keep_it_from_ending(dev: Dev) -> None:
    dev.write("orders.yaml", echo("v1"))
    await dev.start()
    await answer(dev, "v1 hello")
    (server,) = (p for p, argv in dev.alive().items() if "nats-server" in argv.split(" ")[0])
    with suppress(ProcessLookupError):
        os.kill(server, signal.SIGKILL)
    dev.signal()
    await dev.ends(within=15.0)
