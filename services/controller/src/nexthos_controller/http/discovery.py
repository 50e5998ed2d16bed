"""What Prometheus is told of pipelines: where the metrics of each are, and those metrics.

Comes in: requests. Goes out: `/sd`, the targets as http_sd reads them, and for each of them the text of its
engine. Whatever runs a pipeline, it is read through the controller: an engine's own HTTP has a password or
a path that must not be told, and may be out of Prometheus' reach. Decides nothing.

A target is a replica of a pipeline. Its labels are what stays when the version, the executor or the
controller changes, so its series go on; all else can be had by relabelling (`__meta_nexthos_*`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from nexthos_controller.http.server import Answer, Request, Route
from nexthos_controller.loop.reconciler import Controller
from nexthos_shared.errors import NexthosError
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.reasons import Reason

ANSWER_WITHIN = 8.0  # seconds; Prometheus gives up after 10
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Where nothing runs there is nothing to read. One that should run and does not is a target that is down.


def routes(namespace: str, acting: Callable[[], Controller | None]) -> list[Route]:
    """`/sd`, and a path for each of its targets. `acting` gives the controller, if this one acts."""

    async def sd(request: Request) -> Answer:
        # A standby knows none, so that no pipeline is told twice: Prometheus is given all controllers.
        controller = acting()
        # In a thread: every status and entry is read, and reconciling goes on meanwhile.
        found = (
            await asyncio.to_thread(lambda: list(targets(controller, namespace, request.host)))
            if controller is not None
            else []
        )
        return Answer(json.dumps(found).encode(), content_type="application/json; charset=utf-8")

    async def metrics(request: Request) -> Answer:
        if (controller := acting()) is None:
            return _failed(503, "this controller does not act")
        key, replica = request.parts["id"], int(request.parts["replica"])
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                text = await metrics_of(controller, key, replica)
        except NexthosError as error:
            return _failed(503, str(error))
        except TimeoutError:
            return _failed(503, "no answer in time")
        if text is None:
            return _failed(404, f"replica {replica} of {key!r} does not run")
        return Answer(text.encode(), content_type=CONTENT_TYPE)

    return [
        Route(re.compile("/sd"), sd, at_once=1),
        Route(re.compile(r"/pipelines/(?P<id>[^/]+)/(?P<replica>[0-9]{1,6})/metrics"), metrics),
    ]


def _failed(status: int, words: str) -> Answer:
    return Answer(f"{words}\n".encode(), status)


def targets(controller: Controller, namespace: str, address: str) -> Iterator[dict[str, Any]]:
    """A target group for each replica that should run and has metrics, reached at `address`."""
    for key, status in controller.statuses.each(PipelineStatus):
        warning = status.condition(ConditionType.WARNING)
        has_none = warning is not None and warning.reason is Reason.METRICS_NOT_SCRAPED
        if status.phase.is_at_rest or has_none:
            continue
        about = _about(controller, key, status)
        for replica in range(status.replicas):
            labels = {
                "__metrics_path__": f"/pipelines/{key}/{replica}/metrics",
                "instance": f"{key}/{replica}",  # not the controller's address, which may change
                "namespace": namespace,
                "pipeline": key,
                "replica": str(replica),
            }
            yield {"targets": [address], "labels": labels | about}


def _about(controller: Controller, key: str, status: PipelineStatus) -> dict[str, str]:
    meta = {"phase": str(status.phase), "version": status.version or ""}
    if status.executions:
        meta |= {"executor": status.executions[0].executor, "place": status.executions[0].place}
    entry = controller.desired.entry(key)
    if entry is not None and entry.pipeline is not None:
        for name, value in entry.pipeline.labels.items():
            meta[f"label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}"] = value
    return {f"__meta_nexthos_{name}": value for name, value in meta.items()}


async def metrics_of(controller: Controller, key: str, replica: int) -> str | None:
    """What the engine of that replica says; None if none runs. Raises NexthosError."""
    status = controller.statuses.status(key)
    names = sorted({e.executor for e in status.executions}) if status is not None else []
    for name in names:
        executor = controller.executors.get(name)
        found = (await executor.find(key)).executions if executor is not None else ()
        running = [e for e in found if e.replica == replica and e.state == "running"]
        if (
            executor is not None and running
        ):  # during a rolling update two: the old one, while it runs
            return await executor.metrics(min(running, key=lambda e: e.started_at or 0.0))
    return None
