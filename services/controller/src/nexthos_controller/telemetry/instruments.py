"""Instruments: what is counted as it happens. Comes in: calls. Goes out: families of docs/metrics.md.

What can be read at a scrape from what is known is in metrics.py. Decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from nexthos_shared.errors import NexthosError

LOOK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
CALL_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Instruments:
    """Counters of one process; they outlive its terms."""

    looks: Counter
    reconcile_seconds: Histogram
    call_errors: Counter
    call_seconds: Histogram
    resync_seconds: Histogram
    status_writes: Counter
    status_conflicts: Counter
    replies_dropped: Counter

    @classmethod
    def of(cls, registry: CollectorRegistry) -> Instruments:
        """Registered there. Once per registry."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more per counter

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(name, words, labels, registry=registry)

        def seconds(name: str, words: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, words, labels, buckets=bounds, registry=registry)

        method = ("executor", "method")
        return cls(
            counter("nexthos_reconciles", "Looks at a pipeline: ok, failed or defect", "result"),
            seconds("nexthos_reconcile_duration_seconds", "Duration of a look", LOOK_SECONDS),
            counter("nexthos_executor_errors", "Executor calls that raised", *method),
            seconds(
                "nexthos_executor_call_duration_seconds",
                "Executor calls; a stop lasts as long as the engine drains",
                CALL_SECONDS,
                *method,
            ),
            seconds(
                "nexthos_resync_duration_seconds",
                "Comparing everything with what executors list",
                LOOK_SECONDS,
            ),
            counter("nexthos_status_writes", "Statuses written"),
            counter("nexthos_status_conflicts", "Statuses that somebody else had overwritten"),
            counter("nexthos_replies_dropped", "Requests whose reply subject is no inbox"),
        )

    def reconciling(
        self, look: Callable[[str], Awaitable[float | None]]
    ) -> Callable[[str], Awaitable[float | None]]:
        """The same `look`, timed and counted."""

        async def timed(key: str) -> float | None:
            result, began = "ok", time.perf_counter()
            try:
                return await look(key)
            except NexthosError:
                result = "failed"
                raise
            except Exception:
                result = "defect"
                raise
            finally:
                self.looks.labels(result).inc()
                self.reconcile_seconds.observe(time.perf_counter() - began)

        return timed

    @contextmanager
    def resync(self) -> Iterator[None]:
        """Around one."""
        began = time.perf_counter()
        yield
        self.resync_seconds.observe(time.perf_counter() - began)

    @contextmanager
    def call(self, executor: str, method: str) -> Iterator[None]:
        """Around one call of an executor. One that is cancelled has a duration and is no error."""
        began = time.perf_counter()
        try:
            yield
        except Exception:
            self.call_errors.labels(executor, method).inc()
            raise
        finally:
            self.call_seconds.labels(executor, method).observe(time.perf_counter() - began)
