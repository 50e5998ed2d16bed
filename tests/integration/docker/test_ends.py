"""What happens to containers behind our back: counted, told, put right; or left alone if it is not ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from docker.errors import APIError

from nexthos_controller.executors.docker.labels import MADE
from nexthos_shared.model import ConditionType
from nexthos_shared.reasons import Reason
from nexthos_testing.docker import RUNNER
from nexthos_testing.dockyard import Dockyard
from nexthos_testing.wait import eventually

# Holds all that comes in, while nobody answers what is asked.
GREEDY = """\
input:
  generate:
    interval: 1ms
    mapping: |
      root = range(0, 20000).map_each(n -> "0123456789012345678901234567890123456789").join("")
buffer: {{memory: {{limit: 1000000000}}}}
pipeline:
  processors:
    - nats_request_reply: {{urls: ["${{NATS_URL}}"], subject: {outlet}, timeout: 10m}}
output: {{drop: {{}}}}
"""


def moment(text: str) -> float:
    """Of the daemon's clock; seconds."""
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


@pytest.mark.fault(36)
async def test_killed_by_hand_it_is_started_again_later_each_time_and_is_a_crash_loop_at_last(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    pauses = []
    for times in range(1, 6):
        yard.hands.kill(container)
        killed = yard.one("orders")["State"]
        status = await yard.ended_for("orders", Reason.KILLED, times)
        if times < 5:
            await eventually(lambda: yard.running("orders"), within=15.0)
            begun = yard.one("orders")["State"]["StartedAt"]
            pauses.append(moment(begun) - moment(yard.one("orders")["State"]["FinishedAt"]))
            assert killed["Running"] is False
    status = await yard.field.reaches("orders", "CrashLoop")
    assert (status.restarts, status.memory.slots[0].failures) == (5, 5)
    assert yard.one("orders")["Id"] == container
    assert all(pause > 0.75 * 2**n for n, pause in enumerate(pauses)), pauses
    ready = status.condition(ConditionType.READY)
    assert ready is not None
    assert "SIGKILL" in ready.message


@pytest.mark.fault(30)
async def test_removed_by_hand_it_is_made_again_and_counted_as_drift(yard: Dockyard) -> None:
    container = await yard.runs("orders")
    yard.hands.api.remove_container(container, force=True, v=True)
    status = await yard.drifted("orders", 1)
    assert yard.one("orders")["Id"] != container
    assert await yard.field.says("orders") == "v1 hello"
    problem = status.memory.slots[0].problem
    assert (status.restarts, problem and problem.reason) == (1, Reason.VANISHED)


@pytest.mark.fault(30)
async def test_removed_by_hand_while_no_controller_lives_it_is_made_again(yard: Dockyard) -> None:
    container = await yard.runs("orders")
    await yard.controller.kill()
    yard.hands.api.remove_container(container, force=True, v=True)
    await yard.controller.start()
    await yard.drifted("orders", 1)
    assert await yard.field.says("orders") == "v1 hello"


@pytest.mark.fault(30)
async def test_removed_by_hand_while_paused_it_is_made_when_it_is_wanted(yard: Dockyard) -> None:
    container = await yard.runs("orders")
    await yard.field.put("orders", "paused")
    await yard.field.reaches("orders", "Paused")
    yard.hands.api.remove_container(container, force=True, v=True)
    await yard.field.put("orders")
    assert await yard.field.says("orders") == "v1 hello"
    assert yard.one("orders")["Id"] != container


def made_again(yard: Dockyard, container: dict[str, Any], **other: Any) -> str:
    """Another container under its name and labels, with something else; as a person would make it."""
    api, config, host = yard.hands.api, container["Config"], container["HostConfig"]
    api.remove_container(container["Id"], force=True, v=True)
    given = {
        "image": config["Image"],
        "environment": config["Env"],
        "user": config["User"],
        "labels": config["Labels"],
        "volumes": ["/run/nexthos"],
        **other,
    }
    kept = {n: host[v] for n, v in (("cap_drop", "CapDrop"), ("network_mode", "NetworkMode"))}
    given["host_config"] = api.create_host_config(read_only=True, init=True, **kept)
    made = api.create_container(name=container["Name"].lstrip("/"), **given)["Id"]
    api.start(made)
    return str(made)


def said_of(container: dict[str, Any]) -> dict[str, str]:
    """Its user, image and labels, without that of its making, which is new each time."""
    config = container["Config"]
    labels = {n: v for n, v in config["Labels"].items() if n != MADE}
    return {"user": config["User"], "image": container["Image"], **labels}


@pytest.mark.fault(31)
async def test_made_again_by_hand_with_something_else_it_is_replaced_and_counted(
    yard: Dockyard,
) -> None:
    tag = f"nexthos/by-hand:{yard.namespace}"
    others: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "env": lambda config: {"environment": [*config["Env"], "COLOUR=red"]},
        "image": lambda _: {"image": tag},
        "user": lambda _: {"user": "0:0"},
        "label": lambda config: {
            "labels": {**config["Labels"], "nexthos.spec-hash": "0" * 64},
        },
    }
    before = {what: yard.hands.named(await yard.runs(what)) for what in others}
    image = before["image"]
    assert image is not None
    repository, _, name = tag.partition(":")
    yard.hands.api.commit(image["Id"], repository, name, changes="ENV BY=hand")
    try:
        for what, container in before.items():
            assert container is not None
            strange = made_again(yard, container, **others[what](container["Config"]))

            def replaced(key: str = what, it: str = strange) -> bool:
                return yard.hands.named(it) is None and len(yard.running(key)) == 1

            await eventually(replaced, within=30.0)
            status = await yard.field.reaches(what, "Running")
            assert await yard.field.says(what) == "v1 hello"
            again = yard.one(what)
            assert said_of(again) == said_of(container)
            assert again["Name"] == container["Name"]
            assert "COLOUR=red" not in again["Config"]["Env"]
            assert status.drifts >= 1
    finally:
        sweep_image(yard, tag)


def sweep_image(yard: Dockyard, tag: str) -> None:
    for container in yard.containers():
        if container["Config"]["Image"] == tag:
            yard.hands.api.remove_container(container["Id"], force=True, v=True)
    yard.hands.api.remove_image(tag, force=True)


@pytest.mark.fault(32)
async def test_a_foreign_container_with_our_name_is_left_alone_and_told(yard: Dockyard) -> None:
    await yard.runs("orders")
    name = yard.one("orders")["Name"].lstrip("/")
    await yard.field.put("orders", "draft")
    await yard.field.reaches("orders", "Draft")
    foreign = yard.hands.api.create_container(RUNNER, name=name, entrypoint=["sleep", "1000"])["Id"]
    try:
        yard.hands.api.start(foreign)
        before = yard.hands.named(foreign)
        await yard.field.put("orders")
        words = await yard.told("orders", ConditionType.NAME_CONFLICT, Reason.NAME_CONFLICT)
        assert name in words
        await yard.field.put("orders", "draft")
        await yard.field.reaches("orders", "Draft")
        assert yard.hands.named(foreign) == before
        await yard.field.put("orders")
        await yard.told("orders", ConditionType.NAME_CONFLICT, Reason.NAME_CONFLICT)
    finally:
        yard.hands.api.remove_container(foreign, force=True, v=True)
    assert await yard.field.says("orders", within=20.0) == "v1 hello"
    status = await yard.field.reaches("orders", "Running")
    assert status.condition(ConditionType.NAME_CONFLICT) is None


@pytest.mark.fault(38)
async def test_what_needs_more_memory_than_it_may_have_is_oom_killed_and_says_so(
    yard: Dockyard,
) -> None:
    await yard.field.config("orders", GREEDY.format(outlet=yard.field.outlet("orders")))
    await yard.field.nc.subscribe(yard.field.outlet("orders"))  # asked, and never answers
    await yard.field.put("orders", resources={"memory": "64Mi"})
    status = await yard.ended_for("orders", Reason.OOM_KILLED)
    problem = status.memory.slots[0].problem
    assert problem is not None
    assert "resources.memory" in problem.message
    await yard.field.events_with("orders", Reason.OOM_KILLED)
    assert yard.one("orders")["HostConfig"]["Memory"] == 64 * 2**20


@pytest.mark.fault(33)
async def test_left_behind_without_a_marker_it_is_orphaned_and_removed_only_on_request(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    await yard.runs("other")
    await yard.controller.terminate()
    bucket = yard.field.names.pipelines
    await yard.field.delete("orders")
    await yard.field.js.purge_stream(f"KV_{bucket}", subject=f"$KV.{bucket}.orders")
    await yard.controller.start()
    await yard.told("orders", ConditionType.ORPHANED, Reason.ORPHANED)
    await yard.field.request("reconcile", id="orders")
    assert await yard.field.says("orders") == "v1 hello"
    assert yard.one("orders")["Id"] == container
    await yard.does("rm", "--orphans", "-y", "--wait")
    assert yard.containers("orders") == []
    assert await yard.field.says("other") == "v1 hello"


async def test_frozen_by_docker_pause_it_is_ended_all_the_same_when_it_is_not_wanted(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    yard.hands.api.pause(container)
    await yard.field.delete("orders")
    await yard.gone("orders")
    assert yard.containers("orders") == []


async def test_restarted_by_hand_it_is_the_same_container_and_another_life(yard: Dockyard) -> None:
    container = await yard.runs("orders")
    before = await yard.field.reaches("orders", "Running")
    yard.hands.api.restart(container)

    async def another() -> bool:
        status = await yard.field.status("orders")
        uids = [e.uid for e in status.executions if e.ready] if status else []
        return bool(uids) and uids != [e.uid for e in before.executions]

    await eventually(another, within=20.0)
    assert yard.one("orders")["Id"] == container
    assert await yard.field.says("orders") == "v1 hello"
    with pytest.raises(APIError, match="running"):
        yard.hands.api.remove_container(container)
