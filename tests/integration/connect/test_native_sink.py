"""The native sink against a real Kafka, registry and warehouse: nothing lost, nothing twice, whatever happens."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from confluent_kafka import KafkaException, Producer

from connect.native_sink import source as source_module
from connect.native_sink.pace import Pace
from connect.native_sink.source import Source
from etar.dead_letters import Reason
from etar.kafka.offsets import TopicOffsets
from etar.records.record import Record
from etar.records.registry import Registry, RegistryUnavailableError
from etar.records.table import TableLayout
from etar.records.warehouse import Warehouse
from etar.settings import KafkaSettings, RegistrySettings, SinkSettings, WarehouseSettings
from stack.waiting import wait_until
from tests.chaos.links import running_links
from tests.integration.connect.conftest import Lane, client_of, minutes_ago, now_ms
from tests.ports import free_ports
from tests.unit.records.events import DESCRIBED, METADATA, encode, event


def test_the_unit_tests_layout_is_the_real_tables(warehouse: WarehouseSettings) -> None:
    described = Warehouse(warehouse).describe(warehouse.database, "user_interactions")
    assert described == DESCRIBED
    assert TableLayout.of(described, database="etar", table="user_interactions", metadata=METADATA).fields


def test_values_arrive_as_they_were_sent(lane: Lane) -> None:
    now = now_ms()
    sent = event(5, event_time=now, device="Füße 🦶", product_id=None, amount=-(2**63), error_code="")
    lane.produce([encode(sent, schema_id=lane.schema_id)], partition=4)
    sink = lane.sink()
    sink.start()
    lane.settle(sink)

    columns = "toString(event_id), toString(user_id), toString(session_id), event_type, status, toUnixTimestamp64Milli("
    row = lane.rows(columns + "event_time), product_id, amount, error_code, device, country, _partition, _offset")
    assert row == [(*sent.values(), 4, 0)]
    ((appended, minute),) = lane.rows("toUnixTimestamp64Milli(_timestamp), event_minute")
    assert abs(appended - now) < 60_000
    assert minute.replace(tzinfo=UTC) == datetime.fromtimestamp(now // 60_000 * 60, UTC)


def test_poison_among_good_records_becomes_dead_letters_and_takes_none_with_it(lane: Lane) -> None:
    good = lane.good(600)
    now = now_ms()
    spoiled: dict[bytes | None, Reason] = {
        None: Reason.NULL_VALUE,
        b"": Reason.EMPTY_VALUE,
        b'{"json": true}': Reason.NOT_AVRO,
        encode(event(event_time=now), schema_id=2_000_000_000): Reason.UNKNOWN_SCHEMA_ID,
        good[0][:-3]: Reason.TRUNCATED,
        good[0] + b"!": Reason.TRAILING_BYTES,
        encode(event(event_time=now, user_id="nobody"), schema_id=lane.schema_id): Reason.MISSING_OR_WRONG_FIELD,
        encode(event(event_time=2**60), schema_id=lane.schema_id): Reason.OUT_OF_RANGE,
        encode(event(event_time=minutes_ago(24 * 60 + 1)), schema_id=lane.schema_id): Reason.TOO_LATE,
        encode(event(event_time=now + 600_000), schema_id=lane.schema_id): Reason.EVENT_TIME_OUT_OF_BOUNDS,
    }
    mixed = [*good, *spoiled]
    random.Random(3).shuffle(mixed)
    lane.produce(mixed)
    sink = lane.sink()
    sink.start()
    lane.settle(sink)

    assert lane.rows("count(), uniqExact(event_id)") == [(600, 600)]
    assert sink.end() == 0
    told = re.findall(r" s: (\d+) records, (\d+) rows, (\d+) dead letters", sink.log.read_text())
    assert [sum(map(int, column)) for column in zip(*told, strict=True)] == [610, 600, 10]
    assert sink.said("; 0 behind")
    letters = lane.dead_letters()
    assert {value: reason for reason, _, value in letters.values()} == {
        value: reason.value for value, reason in spoiled.items()
    }
    assert all(detail for _, detail, _ in letters.values())
    lane.assert_every_offset_is_in_one_place()


def test_rows_that_the_engine_refuses_are_found_one_by_one(
    new_lane: Callable[..., Lane], warehouse: WarehouseSettings
) -> None:
    client = client_of(warehouse)
    client.command("CREATE TABLE constrained AS user_interactions")
    client.command("ALTER TABLE constrained ADD CONSTRAINT affordable CHECK ifNull(amount, 0) < 1000000")
    lane = new_lane(table="constrained")
    values = lane.good(500)
    for place in (0, 250, 251, 499):
        values[place] = lane.good(1, first=place, amount=5_000_000)[0]
    lane.produce(values, partition=2)
    sink = lane.sink()
    sink.start()
    lane.settle(sink)

    letters = lane.dead_letters()
    assert sorted(letters) == [(2, 0), (2, 250), (2, 251), (2, 499)]
    assert {reason for reason, _, _ in letters.values()} == {Reason.INSERT_REFUSED.value}
    assert all("affordable" in detail for _, detail, _ in letters.values())
    assert lane.rows("count()") == [(496,)]
    client.command("DROP TABLE constrained")


def test_a_backlog_over_a_day_of_minutes_goes_through_in_one_batch(lane: Lane) -> None:
    minutes = 24 * 60 - 2
    values = [lane.good(1, first=number, event_time=minutes_ago(minutes - number // 2))[0] for number in range(2880)]
    lane.produce(values)
    sink = lane.sink(ETAR_SINK_BATCH_SECONDS="3")
    sink.start()
    lane.settle(sink, timeout=120)

    ((rows, partitions),) = lane.rows("count(), uniqExact(event_minute)")
    assert rows == 2880
    assert partitions >= minutes
    assert not lane.dead_letters()


def test_a_sink_that_is_asked_to_stop_commits_what_it_stored(lane: Lane) -> None:
    lane.produce(lane.good(5_000))
    sink = lane.sink()
    sink.start()
    wait_until(lambda: lane.rows("count()") != [(0,)], timeout=60, what="the first rows")
    assert sink.end(signal.SIGTERM) == 0
    lane.produce(lane.good(1_000, first=5_000))
    sink.start()
    lane.settle(sink)

    assert lane.rows("count(), uniqExact(_partition, _offset)", source=lane.table) == [(6_000, 6_000)]
    lane.assert_every_offset_is_in_one_place()


def test_offsets_without_a_record_at_a_partitions_end_are_committed_past(lane: Lane) -> None:
    """Taken back before the sink is there, while it reads, and while it is dead; at last with nothing before it."""
    producer = Producer({"bootstrap.servers": lane.kafka.bootstrap_servers, "transactional.id": lane.topic})
    producer.init_transactions(30)

    def transaction(finish: Callable[[float], None], *, partition: int, first: int) -> None:
        producer.begin_transaction()
        for value in lane.good(3, first=first):
            producer.produce(lane.topic, value=value, partition=partition)
        producer.flush(30)
        finish(30)

    transaction(producer.commit_transaction, partition=0, first=0)
    transaction(producer.abort_transaction, partition=0, first=3)
    transaction(producer.abort_transaction, partition=1, first=6)
    sink = lane.sink()
    sink.start()
    lane.settle(sink)
    transaction(producer.abort_transaction, partition=1, first=9)
    lane.settle(sink)
    sink.end(signal.SIGKILL)
    transaction(producer.commit_transaction, partition=1, first=12)
    transaction(producer.abort_transaction, partition=2, first=15)
    sink.start()
    lane.settle(sink)

    assert sorted(lane.rows("_partition, _offset")) == [(0, 0), (0, 1), (0, 2), (1, 8), (1, 9), (1, 10)]


def test_asked_to_stop_while_the_warehouse_is_away_it_leaves_and_commits_nothing(lane: Lane) -> None:
    (port,) = free_ports(1)
    lane.produce(lane.good(100))
    sink = lane.sink()
    sink.start()
    lane.settle(sink)
    sink.end()
    nobody = lane.sink(ETAR_WAREHOUSE_PORT=str(port))
    nobody.start()
    wait_until(lambda: nobody.said("waiting for the warehouse"), timeout=60, what="the outage")
    assert nobody.end() == 0
    lane.produce(lane.good(100, first=100))
    sink.start()
    lane.settle(sink)
    lane.assert_every_offset_is_in_one_place()


def test_a_registry_that_is_away_is_waited_for_and_costs_no_record(
    lane: Lane, registry: RegistrySettings, tmp_path: Path
) -> None:
    port, control = free_ports(2)
    lane.produce(lane.good(200))
    real = urlsplit(registry.url)
    assert real.port
    sink = lane.sink(ETAR_REGISTRY_URL=registry.url.replace(f":{real.port}/", f":{port}/"))
    sink.start()
    wait_until(lambda: sink.said("waiting for the schema registry"), timeout=60, what="the sink to miss the registry")
    with running_links({"registry": (port, real.port)}, control, tmp_path):
        lane.settle(sink)
    assert sink.said("the schema registry is back")
    assert not lane.dead_letters()
    lane.assert_every_offset_is_in_one_place()


def test_an_unknown_id_is_told_from_a_wrong_address(registry: RegistrySettings) -> None:
    assert Registry.connect(registry).schema(2_000_000_000) is None
    with pytest.raises(RegistryUnavailableError, match="ETAR_REGISTRY_URL"):
        Registry.connect(RegistrySettings(url=registry.url + "/nowhere")).schema(1)


def test_a_schema_of_another_kind_is_a_dead_letter(lane: Lane, registry: RegistrySettings) -> None:
    body = {"schema": 'syntax = "proto3"; message Event { string id = 1; }', "schemaType": "PROTOBUF"}
    answer = httpx.post(f"{registry.url}/subjects/{lane.topic}-protobuf/versions", json=body, timeout=30)
    assert answer.is_success, answer.text
    lane.produce([encode(event(event_time=now_ms()), schema_id=int(answer.json()["id"]))])
    sink = lane.sink()
    sink.start()
    lane.settle(sink)
    ((reason, detail, _),) = lane.dead_letters().values()
    assert (reason, detail) == (
        Reason.UNSUPPORTED_SCHEMA.value,
        f"schema id {answer.json()['id']}: the schema is PROTOBUF, not Avro",
    )


LONGER_THAN_THE_INTERVAL = 9.0


def shorten_the_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the shortest session that a broker grants, which no interval may be shorter than: six seconds."""
    monkeypatch.setattr(source_module, "_SESSION_TIMEOUT_MS", 6_000)
    monkeypatch.setattr(source_module, "_MAX_POLL_INTERVAL_MS", 6_000)


def test_membership_outlives_a_wait_longer_than_the_poll_interval(
    lane: Lane, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_the_poll_interval(monkeypatch)
    lane.produce(lane.good(60))
    settings = SinkSettings(retry_seconds=0.2)
    source = Source(lane.topic, group=lane.group, instance="0", kafka=kafka, settings=settings, pace=pace())
    taken = _take(source, 60)
    end = time.monotonic() + LONGER_THAN_THE_INTERVAL
    with source.held() as rest:
        lane.produce(lane.good(60))
        while time.monotonic() < end:
            rest()
    source.commit()
    with TopicOffsets.connect(lane.topic, settings=kafka) as offsets:
        assert sum(offsets.committed(lane.group).values()) == 60
    after = _take(source, 60)
    assert not {(r.partition, r.offset) for r in taken} & {(r.partition, r.offset) for r in after}
    source.close()


def test_membership_outlives_a_batch_of_attempts_that_succeed_slowly(
    lane: Lane, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_the_poll_interval(monkeypatch)
    lane.produce(lane.good(60))
    source = Source(lane.topic, group=lane.group, instance="0", kafka=kafka, settings=SinkSettings(), pace=pace())
    _take(source, 60)
    end = time.monotonic() + LONGER_THAN_THE_INTERVAL
    while time.monotonic() < end:
        with source.held():
            time.sleep(0.5)  # the attempt
    source.commit()
    with TopicOffsets.connect(lane.topic, settings=kafka) as offsets:
        assert sum(offsets.committed(lane.group).values()) == 60
    source.close()


def test_partitions_lost_during_a_wait_do_not_come_back_paused(lane: Lane, kafka: KafkaSettings) -> None:
    lane.produce(lane.good(60))
    settings = SinkSettings(retry_seconds=0.2)
    source = Source(lane.topic, group=lane.group, instance="0", kafka=kafka, settings=settings, pace=pace())
    _take(source, 60)
    consumer = source._consumer
    with source.held() as rest:
        rest()
        # As in a rebalance that ends only after the wait.
        consumer.unsubscribe()

        def everything_was_taken_away() -> bool:
            rest()
            return not consumer.assignment()

        wait_until(everything_was_taken_away, timeout=30, what="the partitions to be taken away")
    consumer.subscribe([lane.topic], on_assign=source._assigned, on_revoke=source._revoked, on_lost=source._revoked)
    _take(source, 60)  # nothing was committed: all of them come again
    source.close()


def test_a_sink_whose_place_in_the_group_was_taken_ends_instead_of_reading_no_more(
    lane: Lane, kafka: KafkaSettings
) -> None:
    lane.produce(lane.good(10))
    settings = SinkSettings(retry_seconds=0.2)
    first = Source(lane.topic, group=lane.group, instance="0", kafka=kafka, settings=settings, pace=pace())
    _take(first, 10)
    second = Source(lane.topic, group=lane.group, instance="0", kafka=kafka, settings=settings, pace=pace())
    _take(second, 10)

    def reads_on() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            first.take(time.monotonic, lambda: False)

    with pytest.raises(KafkaException, match="fenced"):
        reads_on()
    first.close()
    second.close()


def pace() -> Pace:
    return Pace(longest=1.0, grace=timedelta(seconds=2))


def _take(source: Source, count: int) -> list[Record]:
    taken: list[Record] = []

    def enough() -> bool:
        taken.extend(source.take(time.monotonic, lambda: False))
        return len(taken) >= count

    wait_until(enough, timeout=30, what=f"{count} records")
    return taken
