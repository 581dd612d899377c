"""Twenty thousand bad records in a row, among good ones and before more: each is listed for what it is, none lost."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etar.dead_letters import Reason
from etar.records.intake import REFUSED_TOGETHER
from etar.settings import WarehouseSettings
from tests.integration.connect.conftest import Lane, client_of, minutes_ago, now_ms
from tests.unit.records.events import encode, event

POISON = 20_000


def poison(lane: Lane) -> dict[Reason, list[bytes | None]]:
    """Bad records of every reason that a value alone can have, as many of each; no two values with bytes are equal."""
    chance = random.Random(20)
    now, each = now_ms(), POISON // 10

    def values(**changes: object) -> list[bytes | None]:
        return [
            encode(event(number, **{"event_time": now, **changes}), schema_id=lane.schema_id)
            for number in range(POISON, POISON + each)
        ]

    good = lane.good(each)
    return {
        Reason.NULL_VALUE: [None] * each,
        Reason.EMPTY_VALUE: [b""] * each,
        Reason.NOT_AVRO: [f'{{"number": {number}}}'.encode() for number in range(each)],
        # Another id in each: asking the registry for every one would hold up all behind them.
        Reason.UNKNOWN_SCHEMA_ID: [
            b"\0" + identifier.to_bytes(4, "big") + b"body" for identifier in chance.sample(range(2**30, 2**31), each)
        ],
        Reason.TRUNCATED: [value[:-2] for value in good],
        Reason.TRAILING_BYTES: [value + b"!" for value in good],
        Reason.MISSING_OR_WRONG_FIELD: values(user_id="nobody"),
        Reason.OUT_OF_RANGE: values(event_time=2**60),
        Reason.EVENT_TIME_OUT_OF_BOUNDS: values(event_time=now + 3_600_000),
        Reason.TOO_LATE: values(event_time=minutes_ago(25 * 60)),
    }


@contextmanager
def load(lane: Lane) -> Iterator[list[bytes]]:
    """While inside, good records are sent; yields them, all acknowledged afterwards."""
    good: list[bytes] = []
    enough = threading.Event()

    def send() -> None:
        while not enough.is_set():
            values = lane.good(500, first=len(good))
            lane.produce(values)
            good.extend(values)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield good
    finally:
        enough.set()
        thread.join()


def test_malformed_records_at_load(lane: Lane) -> None:
    bad = poison(lane)
    in_a_row = [value for values in bad.values() for value in values]
    random.Random(4).shuffle(in_a_row)
    assert len(in_a_row) == POISON
    sink = lane.sink()
    sink.start()
    with load(lane) as good:
        lane.produce(in_a_row)
    lane.produce(lane.good(1_000, first=len(good)))
    lane.settle(sink, timeout=120)

    letters = lane.dead_letters()
    assert Counter(reason for reason, _, _ in letters.values()) == {
        reason.value: len(values) for reason, values in bad.items()
    }
    assert Counter((reason, value) for reason, _, value in letters.values()) == Counter(
        (reason.value, value) for reason, values in bad.items() for value in values
    )
    assert lane.rows("count(), uniqExact(event_id)") == [(len(good) + 1_000, len(good) + 1_000)]
    lane.assert_every_offset_is_in_one_place()


def test_rows_that_the_table_refuses_at_load(new_lane: Callable[..., Lane], warehouse: WarehouseSettings) -> None:
    client = client_of(warehouse)
    client.command("CREATE TABLE refusing AS user_interactions")
    client.command("ALTER TABLE refusing ADD CONSTRAINT affordable CHECK ifNull(amount, 0) < 1000000")
    lane = new_lane(table="refusing")
    dear = lane.good(POISON, first=10**6, amount=5_000_000)
    sink = lane.sink()
    sink.start()
    with load(lane) as good:
        lane.produce(dear)
    lane.settle(sink, timeout=120)
    letters = lane.dead_letters()
    lane.produce(lane.good(1_000, first=len(good)))
    lane.settle(sink)

    assert lane.dead_letters() == letters, "nothing that came after is among them"
    assert {reason for reason, _, _ in letters.values()} == {Reason.INSERT_REFUSED.value}
    sent = set(good)
    beside = {value: detail for _, detail, value in letters.values() if value in sent}
    assert len(letters) == POISON + len(beside)
    assert all(detail.startswith(REFUSED_TOGETHER) for detail in beside.values()), "the auditor knows them by it"
    assert lane.rows("count(), countIf(amount >= 1000000)") == [(len(good) - len(beside) + 1_000, 0)]
    lane.assert_every_offset_is_in_one_place()
    client.command("DROP TABLE refusing")
    client.close()
