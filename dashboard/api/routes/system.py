"""How everything is: metrics, and how the alerts stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, HTTPException, Path, Request, Response
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field

from dashboard.api import queries
from dashboard.api.deps import Connection, MayRead, connected
from dashboard.api.metrics import CONTENT_TYPE, METRICS, as_text, gauges
from dashboard.api.problems import AUTHENTICATED, INVALID, NO_JOB, STORE_AWAY, example
from etar.alerts.board import Look, ShownAlert
from etar.alerts.jobs import job_states
from etar.alerts.numbers import Sample
from etar.streams import catalogue

router = APIRouter(tags=["system"])

_STORE_SECONDS = 1.0
"""Who asks for metrics waits for the store no longer than that: the API's own are there without it."""


def _text(example: str) -> dict[str, Any]:
    return {
        "description": "Prometheus's text",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": example}},
    }


_METRICS = _text("# TYPE etar_api_error_ratio gauge\netar_api_error_ratio 0.0\n")
_METRICS_OF_JOB = _text(
    '# TYPE etar_job_lag_records gauge\netar_job_lag_records{part="ride-totals",stream="rides"} 7.0\n'
)


class Number(BaseModel):
    """One number of a metric."""

    name: str
    labels: dict[str, str]
    value: float
    about: str


class System(BaseModel):
    """How the alerts stand, as the part `alerts` last found, and the numbers that they are about."""

    alerts: list[ShownAlert] = Field(description="The firing ones first; a rule without a number has `no data`")
    targets: list[str] = Field(description="Names of who is told when one begins and ends")
    numbers: list[Number]
    problem: str | None = Field(description="Why it is not known how the alerts stand now; then they are old, or none")
    problems: list[str] = Field(description="What could not be asked, so that alerts about it have no data")


@router.get(
    "/metrics",
    summary="The metrics of the report API, the minutes and the sinks",
    dependencies=[MayRead],
    response_class=Response,
    responses={200: _METRICS, **AUTHENTICATED, **STORE_AWAY},
)
async def metrics(request: Request) -> Response:
    """For Prometheus: requests, queries and connections of the API, also while PostgreSQL is away; and the numbers of
    minutes, sinks and jobs that the part `alerts` has found some seconds ago. Of an old look `etar_alerts_up` is 0, and
    there are no others."""
    try:
        async with asyncio.timeout(_STORE_SECONDS), connected(request.app) as connection:
            found = _of_look(await queries.alert_look(connection))
    except (psycopg.Error, PoolTimeout, TimeoutError):
        found = [Sample("etar_report_store_up", {}, 0.0)]
    return Response(generate_latest(METRICS.registry) + as_text(gauges(found)), media_type=CONTENT_TYPE)


@router.get(
    "/metrics/{stream}/{job}",
    summary="The metrics of a stream's job",
    dependencies=[MayRead],
    response_class=Response,
    responses={200: _METRICS_OF_JOB, **AUTHENTICATED, **NO_JOB, **INVALID, **STORE_AWAY},
)
async def metrics_of_job(
    connection: Connection,
    stream: Annotated[str, Path(max_length=200, description="A stream that is on")],
    job: Annotated[str, Path(max_length=200, description="One of its jobs")],
) -> Response:
    """For Prometheus: lag, rates, duration of a batch, state. A job that is silent has `etar_job_up` 0 and no more."""
    states = job_states(catalogue().on, await queries.job_progress(connection))
    own = [each for each in states if (each.stream, each.part) == (stream, job)]
    if not own:
        raise HTTPException(404, f"{stream!a} is on with no job {job!a}")
    return Response(as_text(gauges(sample for state in own for sample in state.samples)), media_type=CONTENT_TYPE)


@router.get(
    "/system",
    summary="How the alerts stand, and the numbers that they are about",
    dependencies=[MayRead],
    responses={
        200: example({"alerts": [], "targets": [], "numbers": [], "problem": None, "problems": []}),
        **AUTHENTICATED,
        **STORE_AWAY,
    },
)
async def system(request: Request) -> System:
    """As `etar alerts` says it: since when each is as it is, and which are silenced. The rules are of Prometheus's
    form, in `plugins/etar/alerts/alerts.yml`."""
    own = list(METRICS.collect())
    try:
        async with connected(request.app) as connection:
            look = await queries.alert_look(connection)
            board = await queries.alert_board(connection, look)
    except (psycopg.Error, PoolTimeout, TimeoutError) as error:
        problem = " ".join(f"the report store does not say how the alerts stand: {error}".split())
        return System(alerts=[], targets=[], numbers=list(_numbers(own)), problem=problem, problems=[])
    return System(
        alerts=list(board.alerts),
        targets=list(board.targets),
        numbers=list(_numbers([*own, *gauges(_of_look(look))])),
        problem=None if board.is_known else board.why_not_known,
        problems=list(board.problems) if board.is_known else [],
    )


def _of_look(look: Look | None) -> list[Sample]:
    """What the look knows beside what the API says of itself."""
    found = () if look is None else look.samples
    return [each for each in found if not each.name.startswith("etar_api_")] or [Sample("etar_alerts_up", {}, 0.0)]


def _numbers(metrics: Iterable[Metric]) -> Iterator[Number]:
    return (
        Number(name=each.name, labels=dict(each.labels), value=each.value, about=metric.documentation)
        for metric in metrics
        for each in metric.samples
    )
