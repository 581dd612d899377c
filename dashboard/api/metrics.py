"""What the report API counts of itself, and how numbers become Prometheus's text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from time import monotonic
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg_pool import AsyncConnectionPool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etar.alerts.numbers import METRICS as NUMBERS
from etar.alerts.numbers import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SLICE_SECONDS = 10
_SLICES = 30
_SERVER_ERROR = 500


@dataclass
class _Slice:
    number: int
    requests: int = 0
    errors: int = 0
    slowest_query: float = 0.0


class Recent:
    """Sums over the last five minutes, by slices of ten seconds: of a rate one number is enough, so that a rule about
    it needs no history."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._slices: deque[_Slice] = deque(maxlen=_SLICES)

    def request(self, status: int) -> None:
        now = self._now()
        now.requests += 1
        now.errors += status >= _SERVER_ERROR

    def query(self, seconds: float) -> None:
        now = self._now()
        now.slowest_query = max(now.slowest_query, seconds)

    @property
    def error_ratio(self) -> float:
        """Answers that are errors of the API's own; of none 0."""
        requests = sum(each.requests for each in self._recent())
        return sum(each.errors for each in self._recent()) / requests if requests else 0.0

    @property
    def slowest_query(self) -> float:
        return max((each.slowest_query for each in self._recent()), default=0.0)

    def _now(self) -> _Slice:
        number = int(self._clock() / _SLICE_SECONDS)
        if not self._slices or self._slices[-1].number != number:
            self._slices.append(_Slice(number))
        return self._slices[-1]

    def _recent(self) -> Iterator[_Slice]:
        oldest = int(self._clock() / _SLICE_SECONDS) - _SLICES
        return (each for each in self._slices if each.number > oldest)


class ApiMetrics(Collector):
    """The report API's own metrics. One of a process: ``METRICS``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.recent = Recent()
        self._pool: AsyncConnectionPool[Any] | None = None
        self._requests = Counter(
            "etar_api_requests", "Answers by status.", ("method", "route", "status"), registry=self.registry
        )
        self._request_seconds = Histogram(
            "etar_api_request_seconds", "Time to an answer.", ("route",), buckets=_BUCKETS, registry=self.registry
        )
        self._query_seconds = Histogram(
            "etar_api_query_seconds", "Time of a query of PostgreSQL.", buckets=_BUCKETS, registry=self.registry
        )
        self.registry.register(self)

    def of_pool(self, pool: AsyncConnectionPool[Any]) -> None:
        """Whose connections are counted."""
        self._pool = pool

    @contextmanager
    def query(self) -> Iterator[None]:
        """Times a query, also one that fails."""
        began = monotonic()
        try:
            yield
        finally:
            seconds = monotonic() - began
            self._query_seconds.observe(seconds)
            self.recent.query(seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)
        self.recent.request(status)

    def collect(self) -> Iterable[Metric]:
        """What is measured when it is asked for."""
        yield from gauges(self._samples())

    def _samples(self) -> Iterator[Sample]:
        yield Sample("etar_api_error_ratio", {}, self.recent.error_ratio)
        yield Sample("etar_api_slowest_query_seconds", {}, self.recent.slowest_query)
        if self._pool is None:
            return
        stats, most = self._pool.get_stats(), self._pool.max_size
        used = stats.get("pool_size", 0) - stats.get("pool_available", 0)
        yield Sample("etar_api_pool_connections", {}, used)
        yield Sample("etar_api_pool_max_connections", {}, most)
        yield Sample("etar_api_pool_used_ratio", {}, used / most)
        yield Sample("etar_api_pool_waiting_requests", {}, stats.get("requests_waiting", 0))


METRICS = ApiMetrics()


class CountedRequests:
    """ASGI middleware: every answer is counted by the route that it is of, never by a path that anybody may make up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = _SERVER_ERROR
        began, seconds = monotonic(), None

        async def seen(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                # To where it begins: an answer of events does not end.
                status, seconds = message["status"], monotonic() - began
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            METRICS.request(scope["method"], route, status, monotonic() - began if seconds is None else seconds)


def gauges(samples: Iterable[Sample]) -> Iterator[Metric]:
    """The metrics of some numbers, each with what it is."""
    for name, of_name in groupby(sorted(samples, key=lambda each: each.name), key=lambda each: each.name):
        found = list(of_name)
        metric = GaugeMetricFamily(name, NUMBERS[name].about, labels=list(found[0].labels))
        for each in found:
            metric.add_metric(list(each.labels.values()), each.value)
        yield metric


def as_text(metrics: Iterable[Metric]) -> bytes:
    """Prometheus's text of some metrics."""

    class Of(Collector):
        def collect(self) -> Iterable[Metric]:
            return metrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Of())
    return generate_latest(registry)
