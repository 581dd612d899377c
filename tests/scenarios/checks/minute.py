"""A minute's run: settle, extract, analyse, report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import httpx

from etar.clients import object_store_client, report_store_connection, warehouse_client
from etar.extracts import Extract
from etar.ledger import State, between
from etar.minute import MinuteWindow
from etar.pipeline.tasks import connections
from etar.pipeline.tasks.minute import MinuteSteps
from etar.settings import (
    ObjectStoreSettings,
    ReportApiSettings,
    ReportReadSettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream
from etar.verify import account
from tests.integration.audit.conftest import PARTITIONS
from tests.integration.pipeline.world import Run, count
from tests.integration.reconcile.world import Http
from tests.scenarios.model import Check
from tests.scenarios.streams import new_stream, running_sink, world_of

_EVENTS, _DUPLICATES, _BAD = 300, 20, 3


@contextmanager
def _warehouse() -> Iterator[Any]:
    with closing(warehouse_client(get_settings(WarehouseSettings))) as client:
        yield client


@contextmanager
def _ledger_connection() -> Iterator[Any]:
    with closing(report_store_connection(get_settings(ReportStoreSettings))) as connection:
        yield connection


def run_minutes(stream: str, minutes: Sequence[str]) -> None:
    """The steps of each minute's run, as Airflow runs them; but for Spark, whose result is written in one PUT as well.

    In a process of its own, which is given clients in place of Airflow's connections.
    """
    steps = MinuteSteps(Stream(stream))
    token = get_settings(ReportApiSettings).write_token.get_secret_value()
    connections.warehouse = _warehouse
    connections.object_store = lambda: object_store_client(get_settings(ObjectStoreSettings))
    connections.ledger_connection = _ledger_connection
    connections.report_api = lambda: Http(get_settings(ReportReadSettings).url, token)
    for minute in minutes:
        run = Run(MinuteWindow.parse(minute))
        steps.settle(run)
        store = connections.object_store()
        extracted = steps.extract(run, store)
        _analyse(steps, run, extracted, store)
        steps.report(run, extracted.rows, store)


def _analyse(steps: MinuteSteps, run: Run, extracted: Extract, store: Any) -> None:
    steps.begin_analysis(run, extracted.rows)
    bucket = get_settings(ObjectStoreSettings).bucket
    body = store.get_object(Bucket=bucket, Key=steps.stream.extract_key(run.window))["Body"].read()
    report = count(body, window=run.window, source=extracted.source or "", stream=steps.stream)
    key = steps.stream.result_key(run.window)
    store.put_object(Bucket=bucket, Key=key, Body=report.model_dump_json().encode())
    steps.end_analysis(run)


class Minute(Check):
    """A minute is reported exactly, in one revision however often its run dies; `etar verify` finds no difference."""

    def prepare_first(self) -> None:
        stream = self.closing.enter_context(new_stream(partitions=PARTITIONS, timestamps="CreateTime"))
        self.closing.enter_context(running_sink(self.parts, stream))
        self.world = self.closing.enter_context(world_of(stream))
        self.minutes = [self.world.minute]
        self._arrive(self.minutes[0])
        self.job = self.closing.enter_context(self.parts.repeated(run_minutes, stream.name, self._named()))

    def prepare_second(self) -> None:
        self.minutes.append(self.minutes[0].next)
        self._arrive(self.minutes[1])
        self.job.arguments = (self.world.stream.name, self._named())

    def validate(self) -> None:
        self.job.finish()
        settings = get_settings(ReportReadSettings)
        headers = {"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}
        with closing(report_store_connection(get_settings(ReportStoreSettings))) as books:
            entries = between(books, self.world.stream, self.minutes[0], self.minutes[-1].next)
        for entry, minute in zip(entries, self.minutes, strict=True):
            assert (entry.window, entry.state, entry.revision) == (minute, State.REPORTED, 1)
            counts = (entry.received, entry.unique_events, entry.duplicates, entry.dead_letters)
            assert counts == (_EVENTS + _DUPLICATES, _EVENTS, _DUPLICATES, _BAD)
            asked = {"stream": self.world.stream.name, "minute": str(minute)}
            served = httpx.get(f"{settings.url}/report", params=asked, headers=headers, timeout=30).raise_for_status()
            report = served.json()
            assert (report["revision"], report["rows_read"], report["total_events"]) == (1, entry.received, _EVENTS)
        verification = account.verify(self.minutes[0], self.minutes[-1].next, stream=self.world.stream)
        assert verification.difference == 0, verification.model_dump_json(indent=1)

    def _arrive(self, minute: MinuteWindow) -> None:
        good = self.world.good(_EVENTS, event_time=int(minute.start.timestamp() * 1000))
        self.world.send([*good, *good[:_DUPLICATES], *[b"junk"] * _BAD], at=minute.start)

    def _named(self) -> list[str]:
        return [str(minute) for minute in self.minutes]
