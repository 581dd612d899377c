"""Reconciling: minutes without a report get one, and late events make their minute's next revision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import httpx

from etar.clients import object_store_client, report_store_connection, warehouse_client
from etar.kafka.offsets import TopicOffsets
from etar.ledger import Ledger, State, revisions
from etar.minute import MINUTE, MinuteWindow
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    ReportApiSettings,
    ReportReadSettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream
from tests.integration.dashboard.serving import RunningApi, bearer
from tests.integration.reconcile.world import Stores, World
from tests.scenarios.model import Check
from tests.scenarios.streams import new_stream


class _World(World):
    """Each of its runs comes long after the last, which would else be waited for though it was killed."""

    def ledger(self, *, now: datetime | None = None) -> Ledger:
        return super().ledger(now=now or self.now - self.policy.stale)


@contextmanager
def _world(stream: Stream, now: datetime) -> Iterator[_World]:
    kafka, objects = get_settings(KafkaSettings), get_settings(ObjectStoreSettings)
    url = get_settings(ReportReadSettings).url
    read_token = get_settings(ReportReadSettings).read_token.get_secret_value()
    write_token = get_settings(ReportApiSettings).write_token.get_secret_value()
    with ExitStack() as opened:
        reader, writer, stranger = (
            opened.enter_context(httpx.Client(base_url=url, headers=headers, timeout=30))
            for headers in (bearer(read_token), bearer(write_token), {})
        )
        yield _World(
            stream=stream,
            client=opened.enter_context(closing(warehouse_client(get_settings(WarehouseSettings)))),
            connection=opened.enter_context(closing(report_store_connection(get_settings(ReportStoreSettings)))),
            api=RunningApi(url, Path(), reader, writer, stranger),
            stores=Stores(kafka, object_store_client(objects), objects.bucket),
            offsets=opened.enter_context(TopicOffsets.connect(stream.topic, settings=kafka)),
            now=now,
            write_token=write_token,
        )


def reconcile(stream: str, now: datetime, since: MinuteWindow) -> None:
    """One run, which leaves nothing to do."""
    with _world(Stream(stream), now) as world:
        assert world.run(since) == {}
        assert world.causes(since) == {}


class Reconcile(Check):
    """Minutes are reported, and revised once for each time that late rows came, whatever the runs die of."""

    def prepare_first(self) -> None:
        self.stream = self.closing.enter_context(new_stream(partitions=2))
        self.now = datetime.now(UTC)
        self.since = MinuteWindow.containing(self.now - 5 * MINUTE)
        self.minutes = list(MinuteWindow.between(self.since, MinuteWindow.containing(self.now)))
        self.offset = 0
        self.arrived = 0
        self._arrive()
        job = self.parts.repeated(reconcile, self.stream.name, self.now, self.since)
        self.job = self.closing.enter_context(job)
        self.job.succeed()
        self._arrive()

    def prepare_second(self) -> None:
        self.job.succeed()
        self._arrive()

    def validate(self) -> None:
        self.job.finish()
        with _world(self.stream, self.now) as world:
            entries = world.entries(self.since)
            for minute in self.minutes:
                served, entry = world.served(minute), entries[minute]
                assert (served["revision"], served["total_events"]) == (self.arrived, self.arrived)
                counts = (entry.state, entry.revision, entry.received, entry.unique_events)
                assert counts == (State.REPORTED, self.arrived, self.arrived, self.arrived)
                history = [each.revision for each in revisions(world.connection, self.stream, minute)]
                assert history == list(range(1, self.arrived + 1))

    def _arrive(self) -> None:
        """One row more in each minute."""
        with _world(self.stream, self.now) as world:
            world._next_offset = count(self.offset)
            world.arrive([world.row(minute) for minute in self.minutes])
        self.offset += len(self.minutes)
        self.arrived += 1
