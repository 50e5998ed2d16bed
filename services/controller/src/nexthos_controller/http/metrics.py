"""What Prometheus reads at each scrape. What is counted as it happens is in instruments.py.

Comes in: statuses. Goes out: families of docs/metrics.md, which a test keeps equal to these.
Series of a pipeline are made at the scrape from what is known then, so those of deleted ones disappear.
Decides nothing.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nexthos_controller.loop.reconciler import Controller
from nexthos_shared.model import ConditionType, Phase
from nexthos_shared.model.stored import Count, Stored, always

TROUBLES = (ConditionType.ERRORING, ConditionType.NOT_DELIVERING)


class _Condition(Stored, frozen=True):
    type: str = ""
    status: str = ""


class _Status(Stored, frozen=True, kw_only=True):
    """Of a PipelineStatus, what is counted."""

    phase: Phase
    ready: Count = 0
    replicas: Count = 0
    restarts: Count = 0
    drifts: Count = 0
    conditions: list[_Condition] = always([])


class ControllerMetrics(Collector):
    """Of a controller whether it leads or stands by."""

    def __init__(
        self,
        leads: Callable[[], bool],
        reconnects: Callable[[], int],
        skipped: Callable[[], int],
    ) -> None:
        self._leads = leads
        self._reconnects = reconnects
        self._skipped = skipped

    def collect(self) -> Iterable[Metric]:
        """The families of one scrape."""
        yield GaugeMetricFamily("nexthos_leader", "1 if this controller acts", int(self._leads()))
        yield CounterMetricFamily(
            "nexthos_nats_reconnects", "Connections to NATS after the first", self._reconnects()
        )
        yield CounterMetricFamily(
            "nexthos_messages_skipped",
            "Messages of NATS that nobody could handle, passed over",
            self._skipped(),
        )


class PipelineMetrics(Collector):
    """Of one term: what is known of pipelines, and how many wait to be looked at."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def collect(self) -> Iterable[Metric]:
        """The families of one scrape. Takes 0.5 s for 10,000 pipelines, so call it in a thread."""
        statuses = list(self._controller.statuses.each(_Status))
        phases = Tally(status.phase for _, status in statuses)
        by_phase = GaugeMetricFamily("nexthos_pipelines", "Pipelines by phase", labels=["phase"])
        for phase in Phase:
            by_phase.add_metric([phase], phases[phase])
        yield by_phase
        yield from _by_pipeline(statuses)
        yield GaugeMetricFamily(
            "nexthos_queue_depth", "Pipelines to be looked at", len(self._controller.queue)
        )


def _by_pipeline(statuses: Iterable[tuple[str, _Status]]) -> Iterable[Metric]:
    labels = ["pipeline"]
    ready = GaugeMetricFamily("nexthos_pipeline_ready", "Executions ready", labels=labels)
    wanted = GaugeMetricFamily("nexthos_pipeline_replicas", "Executions wanted", labels=labels)
    restarts = CounterMetricFamily(
        "nexthos_pipeline_restarts",
        "Unexpected exits of the current spec",
        labels=labels,
    )
    drifts = CounterMetricFamily(
        "nexthos_pipeline_drifts", "Times it was found otherwise than left", labels=labels
    )
    troubled = GaugeMetricFamily(
        "nexthos_pipeline_troubled",
        "1 if messages of it fail, or none comes out",
        labels=["pipeline", "condition"],
    )
    for key, status in statuses:
        true = {c.type for c in status.conditions if c.status == "True"}
        for kind in TROUBLES:
            troubled.add_metric([key, kind], int(kind in true))
        ready.add_metric([key], status.ready)
        wanted.add_metric([key], status.replicas)
        restarts.add_metric([key], status.restarts)
        drifts.add_metric([key], status.drifts)
    return ready, wanted, restarts, drifts, troubled
