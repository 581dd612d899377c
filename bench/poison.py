"""Seconds that good rows are held up by bad records in a row, on the parts of a stack that runs.

    .venv/bin/python bench/poison.py --dir .etar --rate 2000 --poison 20000

For each kind of poison a topic, a table and a sink of its own are made, and removed again. Good events flow at the
rate given; after a while all the poison is sent at once. Printed is how long it took from a good record's
acknowledgement until its row could be read, without poison and with it. The exit code says whether all poison was
listed, no good record was lost, and none was held up for more than ten seconds.

Under the last kind it is 1: rows that are filed beside refused ones wait for the auditor (docs/guarantees.md), which
goes through the stack's own stream and not through these; so here they are never readable, and count as that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import numpy as np
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cli.context import use_settings_of
from connect.template import SINK_TEMPLATE
from etar import dead_letters
from etar.clients import warehouse_client
from etar.rows.blocks import plain_values
from etar.settings import KafkaSettings, RegistrySettings, WarehouseSettings, get_settings
from etar.streams import default_stream
from producer.block_encoding import BlockEncoding
from producer.encoding import Encoding
from producer.kinds import NO_SUCH_SCHEMA_ID, Draft
from producer.made_up import Traffic, source_of
from producer.wire import open_encoding
from stack.layout import REPOSITORY
from stack.waiting import wait_until
from streams.user_interactions.shop import EventFactory

BAR_SECONDS = 10.0
DEAR = 10**12
PROBE_EVERY = 20


def malformed(draft: Draft, encoding: Encoding, chance: Random) -> bytes | None:
    """Each kind of malformed record equally often; an unknown schema id is another one each time."""
    value = encoding.value_of(draft)
    if value and value[1:5] == NO_SUCH_SCHEMA_ID.to_bytes(4, "big"):
        return _with_random_id(value, chance)
    return value


def unknown_ids(draft: Draft, encoding: Encoding, chance: Random) -> bytes | None:
    """Nothing but schema ids that nobody registered, another one each time."""
    return _with_random_id(encoding.encode(draft.event), chance)


def refused(draft: Draft, encoding: Encoding, _chance: Random) -> bytes | None:
    """Good Avro that the table refuses, for the constraint that :func:`own_table` puts on it."""
    return encoding.encode(draft.event | {"amount": DEAR, "event_time": time.time_ns() // 1_000_000})


KINDS: dict[str, Callable[[Draft, Encoding, Random], bytes | None]] = {
    "malformed": malformed,
    "unknown schema ids": unknown_ids,
    "refused by the table": refused,
}


def _with_random_id(value: bytes, chance: Random) -> bytes:
    return value[:1] + chance.randrange(2**30, 2**31).to_bytes(4, "big") + value[5:]


class Lane:
    """A topic, its table and its sink, with good events flowing through from :meth:`begin` to :meth:`end`."""

    def __init__(self, name: str, client: Client, rate: float) -> None:
        self.name = name
        self.sent = 0
        self.encoding = open_encoding(get_settings(RegistrySettings), default_stream(), name)
        self._client = client
        self._rate = rate
        servers = get_settings(KafkaSettings).bootstrap_servers
        self._producer = Producer({"bootstrap.servers": servers, "acks": "all", "linger.ms": 20})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._acknowledged: dict[UUID, float] = {}
        self._readable: dict[UUID, float] = {}

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(60)

    def produce(self, key: bytes | None, value: bytes | None, told: Callable[[], object] = int) -> None:
        self._producer.produce(self.name, value, key, on_delivery=lambda error, _message: error or told())
        self._producer.poll(0)

    def flush(self) -> None:
        self._producer.flush(60)

    def look(self) -> int:
        """Note which of the probes can be read by now; how many."""
        waiting = [str(event_id) for event_id in list(self._acknowledged) if event_id not in self._readable]
        if waiting:
            query = f"SELECT event_id FROM {self.name} WHERE event_id IN {{ids:Array(UUID)}}"
            rows = self._client.query(query, parameters={"ids": waiting}).result_rows
            self._readable |= dict.fromkeys((row[0] for row in rows), time.monotonic())
        return len(self._readable)

    def letters(self) -> dict[str, int]:
        """By reason."""
        query = f"SELECT reason, uniqExact(_partition, _offset) FROM {dead_letters.TABLE} WHERE _topic = '{self.name}'"
        return dict(self._client.query(f"{query} GROUP BY reason").result_rows)

    def rows(self) -> int:
        return int(self._client.query(f"SELECT uniqExact(_partition, _offset) FROM {self.name}").result_rows[0][0])

    def delays(self, since: float, until: float) -> list[float]:
        """Seconds from acknowledged to readable, of the probes acknowledged in between; infinite where not yet."""
        return [
            self._readable.get(each, float("inf")) - at
            for each, at in self._acknowledged.items()
            if since <= at < until
        ]

    def _send(self) -> None:
        factory, encoding = EventFactory(seed=time.time_ns()), BlockEncoding(default_stream(), self.encoding)
        start = time.monotonic()
        while not self._stop.wait(0.01):
            due = int((time.monotonic() - start) * self._rate) - self.sent
            block = factory.block(np.full(due, time.time_ns() // 1_000_000))
            records = encoding.encoded(block, due)
            for event_id, key, value in zip(plain_values(block["event_id"]), records.keys, records.values, strict=True):
                probe = partial(self._told, event_id) if self.sent % PROBE_EVERY == 0 else int
                self.produce(key, value, probe)
                self.sent += 1

    def _told(self, event_id: UUID) -> None:
        self._acknowledged[event_id] = time.monotonic()


@contextmanager
def own_topic(name: str) -> Iterator[None]:
    with AdminClient({"bootstrap.servers": get_settings(KafkaSettings).bootstrap_servers}) as admin:
        admin.create_topics([NewTopic(name, 6, 1, config={"message.timestamp.type": "LogAppendTime"})])[name].result(30)
        try:
            yield
        finally:
            admin.delete_topics([name])[name].result(30)


@contextmanager
def own_table(name: str, client: Client) -> Iterator[None]:
    """A table like the real one, which refuses what is too dear."""
    client.command(f"CREATE TABLE {name} AS user_interactions")
    client.command(f"ALTER TABLE {name} ADD CONSTRAINT affordable CHECK ifNull(amount, 0) < {DEAR}")
    try:
        yield
    finally:
        client.command(f"DROP TABLE {name}")
        client.command(f"DELETE FROM {dead_letters.TABLE} WHERE _topic = '{name}'")


@contextmanager
def own_sink(name: str) -> Iterator[None]:
    document = json.loads(SINK_TEMPLATE.read_text())
    document["name"] = f"{name}_sink"
    document["config"] |= {"topics": name, "topic2TableMap": f"{name}={name}"}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as connector:
        json.dump(document, connector)
        connector.flush()
        command = [sys.executable, "-m", "connect.native_sink", "--connector", connector.name]
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def measure(kind: str, *, rate: float, count: int, seconds: float) -> bool:
    """Print what one kind of poison costs; whether it is within what is promised."""
    name = f"poison_{uuid4().hex[:12]}"
    with ExitStack() as own:
        client = own.enter_context(warehouse_client(get_settings(WarehouseSettings)))
        own.enter_context(own_topic(name))
        own.enter_context(own_table(name, client))
        own.enter_context(own_sink(name))
        lane = Lane(name, client, rate)
        bad = poison(kind, lane.encoding, count)
        lane.begin()
        own.callback(lane.end)
        wait_until(lambda: lane.look() > 0, timeout=60, what="the sink to begin")
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            lane.look()
        poisoned = time.monotonic()
        for key, value in bad:
            lane.produce(key, value)
        lane.flush()
        wait_until(
            lambda: lane.look() > 0 and sum(lane.letters().values()) >= count, timeout=300, what="all to be listed"
        )
        listed = time.monotonic()
        lane.end()
        wait_until(
            lambda: lane.look() > 0 and lane.rows() + sum(lane.letters().values()) == lane.sent + count,
            timeout=60,
            what="every record to be in its place",
        )
        lane.look()
        before, after = lane.delays(began, poisoned), lane.delays(poisoned, float("inf"))
        letters = lane.letters()
    beside = sum(letters.values()) - count
    print(
        f"{kind}: {count:,} in a row, {rate:g} good records a second; all listed after {listed - poisoned:.1f} s\n"
        f"  good rows readable after: median {statistics.median(before):.2f} s, max {max(before):.2f} s; with poison "
        f"median {statistics.median(after):.2f} s, max {max(after):.2f} s (ratio of the maxima "
        f"{max(after) / max(before):.1f})\n"
        f"  dead letters {letters}; good records among them: {beside}"
    )
    return max(after) <= BAR_SECONDS and beside == 0


def poison(kind: str, encoding: Encoding, count: int) -> list[tuple[bytes | None, bytes | None]]:
    """Made beforehand, so that it can be sent as fast as Kafka takes it."""
    chance = Random(7)  # noqa: S311  a bench that repeats itself
    source = source_of(default_stream(), EventFactory(seed=time.time_ns()), encoding)
    block = Traffic(source, encoding, seed=7, malformed=1.0).block(np.full(count, time.time_ns() // 1_000_000))
    drafts = list(block.malformed.values())
    return [(encoding.key(draft.event), KINDS[kind](draft, encoding, chance)) for draft in drafts]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path(".etar"))
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--poison", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=15, help="how long good records are watched alone first")
    args = parser.parse_args()
    use_settings_of(args.dir, "ETAR_KAFKA_", "ETAR_REGISTRY_", "ETAR_WAREHOUSE_", "ETAR_PIPELINE_", "ETAR_SINK_")
    within = [measure(kind, rate=args.rate, count=args.poison, seconds=args.seconds) for kind in KINDS]
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
