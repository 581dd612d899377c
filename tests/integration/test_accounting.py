"""The account against real parts: exact when all is well, and right about each thing that can be wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from etar import accounting
from etar.accounting import PlaceUnavailableError, ProducerAccount, UnverifiableRangeError, parquet_rows
from etar.clients import object_store_client
from etar.kafka_offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.extract import extract_minute
from etar.reconciliation import Verification
from etar.report import Outcomes, Report
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    ReportApiSettings,
    ReportReadSettings,
    ReportStoreSettings,
    get_settings,
)
from etar.streams import Stream
from stack.parts import Stack
from stack.waiting import wait_until
from tests.conftest import running_part
from tests.integration.connect.conftest import (
    Lane,
    SinkProcess,
    client_of,
    new_lane,  # noqa: F401  (a fixture)
)

if TYPE_CHECKING:
    pass


@dataclass
class World:
    """A stream with all five places, and a pipeline that is run by hand."""

    stream: Stream
    lane: Lane
    sink: SinkProcess
    store: ObjectStoreSettings
    api: httpx.Client
    this_minute: MinuteWindow

    def minute(self, back: int) -> MinuteWindow:
        return MinuteWindow(self.this_minute.start - back * MINUTE)

    def send(self, count: int, *, back: int, first: int = 0) -> list[bytes]:
        when = int(self.minute(back).start.timestamp() * 1000) + 30_000
        values = self.lane.good(count, first=first, event_time=when)
        self.lane.produce(values)
        self.lane.settle(self.sink)
        return values

    def run_pipeline(self, *backs: int) -> None:
        """Extract and report, with the numbers taken from the Parquet object itself."""
        warehouse = client_of(self.lane.warehouse)
        for back in backs:
            window = self.minute(back)
            extract = extract_minute(
                window,
                stream=self.stream,
                warehouse=warehouse,
                store=object_store_client(self.store),
                bucket=self.store.bucket,
                horizon=timedelta(hours=24),
                now=lambda: datetime.now(UTC),
            )
            unique = 0
            if extract.rows:
                key = self.stream.extract_key(window)
                body = object_store_client(self.store).get_object(Bucket=self.store.bucket, Key=key)
                unique = len(pq.read_table(BytesIO(body["Body"].read()))["event_id"].unique())
            report = Report(
                stream=self.stream.name,
                minute=window.start,
                total_events=unique,
                total_errors=0,
                event_types={"purchase": Outcomes(success=unique)},
                unique_users=min(unique, 1),
                rows_read=extract.rows,
                source_object=extract.source,
            )
            content = report.model_dump_json()
            headers = {"Content-Type": "application/json"}
            self.api.post("/report", content=content, headers=headers).raise_for_status()
        warehouse.close()

    def verify(self, **arguments: Any) -> Verification:
        """Over the last three minutes and this one, as someone would who comes three minutes later."""
        now = lambda: datetime.now(UTC) + 3 * MINUTE  # noqa: E731
        return accounting.verify(self.minute(3), self.this_minute.next, stream=self.stream, now=now, **arguments)


@pytest.fixture(scope="module")
def report_api(parts_stack: Stack, report_store: ReportStoreSettings) -> Iterator[None]:
    with running_part("report-api", parts_stack):
        yield


@pytest.fixture
def world(
    new_lane: Callable[..., Lane],  # noqa: F811
    parts_stack: Stack,
    object_store: ObjectStoreSettings,
    report_api: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    for name, value in parts_stack.settings.starting_with("ETAR_").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ETAR_PIPELINE_START_DATE", "2026-01-01T00:00Z")
    get_settings.cache_clear()
    lane = new_lane()
    lane.table = lane.topic
    warehouse = client_of(lane.warehouse)
    warehouse.command(f"CREATE TABLE {lane.table} AS user_interactions")
    sink = lane.sink()
    sink.start()
    url = get_settings(ReportReadSettings).url
    headers = {"Authorization": f"Bearer {get_settings(ReportApiSettings).write_token.get_secret_value()}"}
    with httpx.Client(base_url=url, headers=headers) as api:
        # All that a test sends must arrive in one minute, so that the range of the account has an end after it.
        wait_until(lambda: datetime.now(UTC).second < 45, timeout=20, what="room in this minute")
        this_minute = MinuteWindow.containing(datetime.now(UTC))
        yield World(Stream(lane.topic), lane, sink, object_store, api, this_minute)
    sink.end()
    warehouse.command(f"DROP TABLE {lane.table}")
    warehouse.close()
    get_settings.cache_clear()


def test_the_account_is_exact_and_finds_every_kind_of_difference(world: World) -> None:
    started = datetime.now(UTC)
    values = world.send(300, back=2)
    world.send(200, back=1, first=300)
    world.lane.produce([*values[:20], b"junk", None])
    world.lane.settle(world.sink)
    ended = datetime.now(UTC)
    world.run_pipeline(3, 2, 1, 0)

    exact = world.verify()
    assert (exact.ok, exact.difference) == (True, 0), exact.model_dump_json(indent=1)
    rows = [(m.received, m.duplicates, m.unique, m.parquet_rows, m.report_rows, m.report_events) for m in exact.minutes]
    assert rows == [
        (0, 0, 0, None, 0, 0),
        (320, 20, 300, 320, 320, 300),
        (200, 0, 200, 200, 200, 200),
        (0, 0, 0, None, 0, 0),
    ]
    assert sum(minute.dead_letters for minute in exact.minutes) == 2
    assert sum(p.end_offset - p.first_offset for p in exact.partitions) == 522
    assert sum(p.in_dead_letters for p in exact.partitions) == 2

    # A producer's account: right, then claiming one record more than Kafka took.
    claimed = {p.partition: p.end_offset - p.first_offset for p in exact.partitions}
    told = ProducerAccount(world.stream.topic, started, ended + timedelta(seconds=1), claimed)
    assert world.verify(producer_account=told).ok
    claimed[4] += 1
    assert world.verify(producer_account=told).difference == 1

    # Late rows, until the minute is reported again.
    world.send(6, back=1, first=900)
    late = world.verify()
    assert late.difference == 6 * 3
    assert "6 rows came after the minute was reported" in (late.minutes[2].note or "")
    world.run_pipeline(1)
    assert world.verify().ok
    assert world.verify().minutes[2].revision == 2

    # Rows that the table lost: two neighbours and a lone one.
    warehouse = client_of(world.lane.warehouse)
    lost = "_partition = 1 AND _offset IN (10, 11, 20)"
    backup = f"backup_{world.lane.table}"
    warehouse.command(f"CREATE TABLE {backup} AS {world.lane.table}")
    warehouse.command(f"INSERT INTO {backup} SELECT * FROM {world.lane.table} WHERE {lost}")
    warehouse.command(f"ALTER TABLE {world.lane.table} DELETE WHERE {lost} SETTINGS mutations_sync = 2")
    gone = world.verify()
    assert (gone.partitions[1].missing, gone.partitions[1].missing_ranges) == (3, ((10, 11), (20, 20)))
    assert gone.difference == 3 + sum(minute.difference for minute in gone.minutes)
    assert gone.minutes[1].difference == 3 * 3
    warehouse.command(f"INSERT INTO {world.lane.table} SELECT * FROM {backup}")
    warehouse.command(f"DROP TABLE {backup}")
    assert world.verify().ok

    # A record in both places.
    record = f"_topic = '{world.stream.topic}' AND _partition = 0 AND _offset = 5"
    columns = "_topic, _partition, _offset, _timestamp"
    warehouse.command(f"INSERT INTO dead_letters ({columns}) SELECT {columns} FROM {world.lane.table} WHERE {record}")
    both = world.verify()
    assert (both.difference, both.partitions[0].in_both_sample) == (1, (5,))
    warehouse.command(f"ALTER TABLE dead_letters DELETE WHERE {record} SETTINGS mutations_sync = 2")

    # A Parquet object that went away.
    key = world.stream.extract_key(world.minute(2))
    object_store_client(world.store).delete_object(Bucket=world.store.bucket, Key=key)
    assert world.verify().minutes[1].difference == 320
    warehouse.close()


def test_a_minute_without_a_report_is_a_gap_even_when_it_is_empty(world: World) -> None:
    world.run_pipeline(3, 2, 0)
    verification = world.verify()
    assert [minute.difference for minute in verification.minutes] == [0, 0, 1, 0]


def test_a_sink_that_is_behind_has_no_settled_minute_to_compare(world: World) -> None:
    world.sink.end()
    world.lane.produce(world.lane.good(10))
    with pytest.raises(UnverifiableRangeError, match="is not settled yet"):
        world.verify()
    world.sink.start()
    world.lane.settle(world.sink)


def test_a_place_that_is_away_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value, place in (
        ("ETAR_API_URL", "http://127.0.0.1:9", "the report API at"),
        ("ETAR_S3_ENDPOINT_URL", "http://127.0.0.1:9", "the object store does not give"),
        ("ETAR_WAREHOUSE_PORT", "9", "the warehouse at"),
    ):
        with monkeypatch.context() as patched:
            patched.setenv(variable, value)
            get_settings.cache_clear()
            with pytest.raises(PlaceUnavailableError, match=place):
                world.verify()
    get_settings.cache_clear()


def test_a_footer_of_any_size_is_read_by_its_end(object_store: ObjectStoreSettings) -> None:
    stream = Stream("footers")
    windows = [MinuteWindow.parse(f"2026-11-21T10:3{digit}Z") for digit in range(3)]
    client = object_store_client(object_store)
    for window, groups in zip(windows[:2], (1, 2_000), strict=True):
        file = BytesIO()
        table = pa.table({f"column_{number}": range(groups) for number in range(4)})
        pq.write_table(table, file, row_group_size=1)
        client.put_object(Bucket=object_store.bucket, Key=stream.extract_key(window), Body=file.getvalue())
    big = client.head_object(Bucket=object_store.bucket, Key=stream.extract_key(windows[1]))
    assert big["ContentLength"] > 128 * 1024

    assert parquet_rows(object_store, stream, windows) == {windows[0]: 1, windows[1]: 2_000, windows[2]: None}
    client.put_object(Bucket=object_store.bucket, Key=stream.extract_key(windows[2]), Body=b"PAR1 no, not at all")
    with pytest.raises(PlaceUnavailableError, match="is not whole Parquet"):
        parquet_rows(object_store, stream, windows)


def test_offsets_held_at_an_instant_are_exact_to_the_millisecond(new_lane: Callable[..., Lane]) -> None:  # noqa: F811
    lane = new_lane()
    for number in range(3):
        lane.produce(lane.good(1, first=number), partition=2)
        time.sleep(0.02)  # the broker's clock must move on between two records
    appended = _append_times(lane, partition=2, count=3)
    with TopicOffsets.connect(lane.topic, settings=lane.kafka) as offsets:
        assert offsets.held_at(appended[0])[2] == 0
        assert offsets.held_at(appended[0] + timedelta(microseconds=1))[2] == 1
        assert offsets.held_at(appended[1] - timedelta(milliseconds=1))[2] == 1
        assert offsets.held_at(appended[1])[2] == 1
        assert offsets.held_at(appended[1] + timedelta(milliseconds=1))[2] == 2
        assert (
            offsets.held_at(appended[2] + timedelta(hours=1)) == offsets.end() == {0: 0, 1: 0, 2: 3, 3: 0, 4: 0, 5: 0}
        )
        with pytest.raises(ValueError, match="no time zone"):
            offsets.held_at(datetime(2026, 11, 21))  # noqa: DTZ001


def test_a_group_that_never_committed_stands_at_the_low_watermark(new_lane: Callable[..., Lane]) -> None:  # noqa: F811
    lane = new_lane()
    lane.produce(lane.good(5), partition=1)
    admin = AdminClient({"bootstrap.servers": lane.kafka.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(lane.topic, 1, 2)]).values():
        future.result(30)
    with TopicOffsets.connect(lane.topic, settings=lane.kafka) as offsets:
        assert offsets.low()[1] == 2
        assert offsets.committed("nobody") == {0: 0, 1: 2, 2: 0, 3: 0, 4: 0, 5: 0}


def test_a_topic_that_does_not_exist_is_named(kafka: KafkaSettings) -> None:
    with (
        TopicOffsets.connect("no_such_topic", settings=kafka) as offsets,
        pytest.raises(UnknownTopicError, match="Kafka has no topic 'no_such_topic'"),
    ):
        offsets.end()


def test_a_kafka_that_is_away_is_told_in_time() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    started = time.monotonic()
    with (
        TopicOffsets.connect("t", settings=settings, timeout=1) as offsets,
        pytest.raises(KafkaUnavailableError, match="did not answer about topic 't' within 1 s"),
    ):
        offsets.end()
    assert time.monotonic() - started < 5


def _append_times(lane: Lane, *, partition: int, count: int) -> list[datetime]:
    consumer = Consumer({"bootstrap.servers": lane.kafka.bootstrap_servers, "group.id": f"look-{lane.topic}"})
    consumer.assign([TopicPartition(lane.topic, partition, 0)])
    messages = consumer.consume(count, timeout=30)
    consumer.close()
    return [datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC) for message in messages]
