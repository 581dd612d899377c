"""A table that lost rows which were reported: no report is made from what is left, and the auditor puts the rows back.

Records are in Kafka, and were audited, hours ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from etar.kafka.offsets import TopicOffsets
from etar.ledger import Stage, State
from etar.minute import MinuteWindow
from etar.pipeline.affected import Cause
from tests.integration.audit.conftest import World as Arrivals
from tests.integration.audit.conftest import new_world  # noqa: F401  (a fixture)
from tests.integration.dashboard.serving import RunningApi
from tests.integration.reconcile.world import Stores, World


@pytest.fixture
def arrivals(new_world: Callable[..., Arrivals]) -> Arrivals:  # noqa: F811
    """Nine events of a minute of five hours ago, three in each partition: stored, audited and closed."""
    made = new_world()
    made.minute = MinuteWindow(made.minute.start - timedelta(hours=5))
    made.send(made.good(9))
    made.sink()
    made.audit(minutes=1)
    assert made.exact()
    assert len(made.closed()) == 3
    return made


@pytest.fixture
def world(arrivals: Arrivals, client: Client, connection: Any, api: RunningApi, stores: Stores) -> Iterator[World]:
    """A deployment that began just now, with that minute reported."""
    with TopicOffsets.connect(arrivals.stream.topic, settings=stores.kafka) as offsets:
        world = World(
            stream=arrivals.stream, client=client, connection=connection, api=api, stores=stores, offsets=offsets
        )
        assert run(world) == {}
        assert served(world, arrivals) == (1, 9)
        yield world


def run(world: World) -> dict[str, str]:
    return world.run(MinuteWindow.containing(world.now))


def causes(world: World) -> list[str]:
    return list(world.causes(MinuteWindow.containing(world.now)).values())


def served(world: World, arrivals: Arrivals) -> tuple[int, int]:
    report = world.served(arrivals.minute)
    return report["revision"], report["total_events"]


def lose(world: World, which: str) -> None:
    world.client.command(f"DELETE FROM {world.stream.table} WHERE {which}")


def test_the_report_stays_and_the_auditor_puts_the_rows_back(world: World, arrivals: Arrivals) -> None:
    before = world.entries(arrivals.minute)[arrivals.minute]
    lose(world, "_offset >= 1 AND _partition < 2")
    assert causes(world) == [Cause.DISAGREES]
    assert world.lost_rows(arrivals.minute) == {0: [1, 2], 1: [1, 2]}

    assert run(world) == {}
    assert served(world, arrivals) == (1, 9)
    entry = world.entries(arrivals.minute)[arrivals.minute]
    assert entry == before.model_copy(update={"updated_at": entry.updated_at})
    assert entry.updated_at > before.updated_at, "it has had its turn: others come first in the next batch"
    assert [partition for partition, *_ in arrivals.closed()] == [2], "open again where rows are lost"

    arrivals.audit()
    assert arrivals.exact()
    assert arrivals.repairs() == {"stored": 4}
    assert causes(world) == []
    assert served(world, arrivals) == (1, 9)


def test_late_rows_do_not_stand_in_for_lost_ones(world: World, arrivals: Arrivals) -> None:
    lose(world, "_offset = 1 AND _partition = 1")
    arrivals.send(arrivals.good(6, first=9), at=arrivals.minute.end + timedelta(seconds=30))
    arrivals.sink()
    assert causes(world) == [Cause.LATE]
    assert run(world) == {}
    assert served(world, arrivals) == (1, 9)
    arrivals.audit(minutes=3)
    assert causes(world) == [Cause.LATE]
    assert run(world) == {}
    assert served(world, arrivals) == (2, 15)
    assert causes(world) == []


def test_a_minute_whose_run_failed_is_not_reported_from_what_is_left_either(world: World, arrivals: Arrivals) -> None:
    lose(world, "true")
    ledger = world.ledger()
    ledger.began(arrivals.minute, Stage.SETTLE)
    ledger.failed(arrivals.minute, Stage.SETTLE, "killed")
    assert causes(world) == [Cause.FAILED]
    assert run(world) == {}
    assert world.entries(arrivals.minute)[arrivals.minute].state is State.FAILED
    assert served(world, arrivals) == (1, 9)
    arrivals.audit()
    assert run(world) == {}
    assert world.entries(arrivals.minute)[arrivals.minute].state is State.REPORTED
    assert served(world, arrivals) == (1, 9)


def test_what_kafka_no_longer_has_opens_nothing_and_is_not_hidden(world: World, arrivals: Arrivals) -> None:
    lose(world, "_offset = 1")
    arrivals.forget(dict.fromkeys(range(3), 3))
    closed = arrivals.closed()
    assert run(world) == {}
    assert arrivals.closed() == closed
    assert served(world, arrivals) == (1, 9)
    assert causes(world) == [Cause.DISAGREES]


def test_rows_that_became_dead_letters_leave_their_minute(world: World, arrivals: Arrivals) -> None:
    """As the auditor does with a bad record that a sink made a row of."""
    appended = arrivals.minute.start + timedelta(seconds=30)  # as its row: the record's own
    letter = [arrivals.stream.topic, 1, 1, appended, "truncated", "", None, "x"]
    columns = ("_topic", "_partition", "_offset", "_timestamp", "reason", "detail", "key", "value")
    world.client.insert("dead_letters", [letter], column_names=columns)
    lose(world, "_offset = 1 AND _partition = 1")
    assert world.lost_rows(arrivals.minute) == {}
    assert run(world) == {}
    assert served(world, arrivals) == (2, 8)
    assert causes(world) == []


def test_an_extract_that_is_gone_as_well_says_nothing(world: World, arrivals: Arrivals) -> None:
    lose(world, "_offset = 1")
    assert world.lost_rows(arrivals.minute) == {partition: [1] for partition in range(3)}
    world.stores.s3.delete_object(Bucket=world.stores.bucket, Key=world.stream.extract_key(arrivals.minute))
    assert world.lost_rows(arrivals.minute) == {}


def test_a_minute_that_was_never_reported_has_lost_nothing(world: World, arrivals: Arrivals) -> None:
    assert world.lost_rows(arrivals.minute.previous) == {}
