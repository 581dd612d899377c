"""Runs of the producer against a real Kafka and a real registry."""

from __future__ import annotations

import io
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import fastavro
import psutil
import pytest
from confluent_kafka import Message
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from etar.settings import KafkaSettings, RegistrySettings
from etar.streams import default_stream
from producer.account import Account, Outcome
from producer.kinds import NO_SUCH_SCHEMA_ID, Kind, malformed_kinds
from producer.options import Mix, ProduceOptions
from producer.publisher import TopicMissingError
from producer.run import produce
from producer.wire import SchemaRefusedError, open_encoding
from stack.waiting import wait_until
from tests.integration.producer.conftest import Door, Run, Topic
from tests.user_events import UserEvent

SCHEMA = fastavro.parse_schema(json.loads(default_stream().schema_text or ""))
MALFORMED = malformed_kinds(default_stream().record)
START = datetime(2026, 1, 5, 10, 31, tzinfo=UTC)  # past, so that it is not waited for
Start = Callable[..., Run]


def decode(message: Message) -> dict[str, object]:
    """The event of a record, read to its last byte."""
    body = io.BytesIO(message.value())
    assert body.read(1) == b"\x00"
    assert int.from_bytes(body.read(4), "big") > 0
    event = fastavro.schemaless_reader(body, SCHEMA, None)
    assert body.read() == b"", "bytes after the event"
    assert isinstance(event, dict)
    return event


def events_of(topic: Topic) -> list[dict[str, object]]:
    return [decode(message) for message in topic.records()]


def log_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(path: Path, number: int) -> None:
    wait_until(lambda: lines_of(path) >= number, timeout=60, what=f"{number} lines in {path}")


def wait_for_more(topic: Topic, records: int) -> None:
    held = sum(topic.end_offsets().values())
    wait_until(
        lambda: sum(topic.end_offsets().values()) >= held + records, timeout=60, what=f"{records} more in {topic.name}"
    )


def acknowledged(account: Account) -> dict[int, int]:
    return {partition: outcome.acknowledged for partition, outcome in account.counts.partitions.items()}


def test_events_decode_with_their_types_and_keys_and_the_account_is_what_kafka_holds(topic: Topic) -> None:
    options = ProduceOptions(
        topic=topic.name, rate=1000, duration=timedelta(seconds=2), start=START, seed=5, mix=Mix(errors=0.2)
    )

    account = produce(options)

    records = topic.records()
    assert len(records) == 2000 == account.generated == account.acknowledged
    assert account.ok
    assert acknowledged(account) == topic.end_offsets()
    assert (account.first_minute, account.last_minute) == ("2026-01-05T10:31Z", "2026-01-05T10:31Z")
    ids = set()
    for message in records:
        event = decode(message)
        assert isinstance(event["user_id"], UUID)
        assert message.key() == event["user_id"].bytes
        assert isinstance(event["event_time"], datetime)
        assert START <= event["event_time"] < START + timedelta(seconds=2)
        assert (event["status"] == "error") == (event["error_code"] is not None)
        ids.add(event["event_id"])
    assert len(ids) == 2000


def test_the_same_run_again_sends_the_same_events(topic: Topic) -> None:
    options = ProduceOptions(topic=topic.name, rate=500, duration=timedelta(seconds=1), start=START, seed=6)
    produce(options)
    once = events_of(topic)

    produce(options)

    assert Counter(map(str, events_of(topic))) == Counter({str(event): 2 for event in once})


def test_every_kind_of_bad_record_reaches_kafka_as_what_it_is(topic: Topic, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    account = produce(
        ProduceOptions(
            topic=topic.name,
            rate=2000,
            duration=timedelta(seconds=1),
            start=START,
            seed=7,
            mix=Mix(late=0.1, late_by=timedelta(seconds=60), duplicates=0.1, malformed=0.2),
            event_log=log,
        )
    )

    records = {(message.partition(), message.offset()): message for message in topic.records()}
    logged = log_of(log)
    assert {(line["partition"], line["offset"]) for line in logged} == records.keys()
    assert len(logged) == len(records) == 2000
    kinds = Counter(Kind(str(line["kind"])) for line in logged)
    assert kinds.keys() == {Kind.EVENT, Kind.LATE, Kind.DUPLICATE, *MALFORMED}
    assert account.counts.kinds == {kind: Outcome(acknowledged=n) for kind, n in kinds.items()}
    assert account.duplicates == kinds[Kind.DUPLICATE]
    # With the late ones, and without those that are malformed by their time.
    assert (account.first_minute, account.last_minute) == ("2026-01-05T10:30Z", "2026-01-05T10:31Z")
    assert account.malformed == sum(kinds[kind] for kind in MALFORMED)

    seen: Counter[tuple[str, str]] = Counter()
    for line in logged:
        message = records[line["partition"], line["offset"]]
        assert message.key() == UUID(str(line["user_id"])).bytes
        value = message.value()
        match Kind(str(line["kind"])):
            case Kind.NULL_VALUE:
                assert value is None
            case Kind.EMPTY_VALUE:
                assert value == b""
            case Kind.NOT_AVRO:
                assert value[0] != 0
            case Kind.UNKNOWN_SCHEMA_ID:
                assert int.from_bytes(value[1:5], "big") == NO_SUCH_SCHEMA_ID
            case Kind.TRUNCATED:
                with pytest.raises((EOFError, IndexError)):
                    decode(message)
            case Kind.TRAILING_BYTES:
                with pytest.raises(AssertionError, match="bytes after the event"):
                    decode(message)
            case Kind.TIME_FAR_AHEAD:
                assert int(str(line["event_time"])) >= (START + timedelta(days=29)).timestamp() * 1000
            case Kind.TIME_FAR_BEHIND:
                assert int(str(line["event_time"])) <= (START - timedelta(days=29)).timestamp() * 1000
            case Kind.EVENT | Kind.LATE | Kind.DUPLICATE:
                event = decode(message)
                assert str(event["event_id"]) == line["event_id"]
                seen[str(event["event_id"]), str(event)] += 1
    assert len({event_id for event_id, _ in seen}) == len(seen), "a duplicate has other content than its event"
    assert sum(seen.values()) - len(seen) == kinds[Kind.DUPLICATE]


def test_sigterm_flushes_and_the_account_is_exact(topic: Topic, start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    file = tmp_path / "account.json"
    run = start(
        "--rate", "3000", "--workers", "2", "--topic", topic.name, "--event-log", str(log), "--account", str(file)
    )
    wait_until(lambda: lines_of(log) > 3000, timeout=60, what="some events")

    run.process.send_signal(signal.SIGTERM)
    account = Account.model_validate_json(run.finish())

    assert run.process.returncode == 0, run.stderr.read_text()
    assert account.ok
    assert acknowledged(account) == topic.end_offsets()
    assert sum(topic.end_offsets().values()) == lines_of(log) == account.generated
    assert Account.read(file) == account


def test_a_full_queue_is_waited_for(topic: Topic) -> None:
    account = produce(
        ProduceOptions(topic=topic.name, rate=100_000, duration=timedelta(seconds=0.01), workers=1, queue_records=7)
    )

    assert account.acknowledged == account.generated == 1000 == sum(topic.end_offsets().values())


def test_a_registry_and_a_kafka_that_are_away_at_the_start_are_waited_for(
    topic: Topic,
    start: Start,
    door: Callable[[str, int], Door],
    kafka: KafkaSettings,
    registry: RegistrySettings,
) -> None:
    registry_at = urlsplit(registry.url)
    kafka_host, _, kafka_port = kafka.bootstrap_servers.partition(":")
    to_registry = door(str(registry_at.hostname), registry_at.port or 80)
    to_kafka = door(kafka_host, int(kafka_port))
    run = start(
        *("--rate", "100", "--for", "1s", "--topic", topic.name),
        ETAR_REGISTRY_URL=registry_at._replace(netloc=f"127.0.0.1:{to_registry.port}").geturl(),
        ETAR_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{to_kafka.port}",
    )

    def says(text: str) -> bool:
        return text in run.stderr.read_text()

    wait_until(lambda: says("waiting: schema registry at http://127.0.0.1:"), timeout=60, what="word of the registry")
    to_registry.open()
    wait_until(lambda: says("waiting: Kafka at 127.0.0.1:"), timeout=60, what="word of Kafka")
    to_kafka.open()
    account = Account.model_validate_json(run.finish())

    assert account.ok
    assert account.acknowledged == 100 == sum(topic.end_offsets().values())


def test_sigterm_while_waiting_ends_with_an_account_of_nothing(start: Start, topic: Topic) -> None:
    run = start("--topic", topic.name, ETAR_REGISTRY_URL="http://127.0.0.1:1/")
    wait_until(lambda: "waiting:" in run.stderr.read_text(), timeout=60, what="word of the registry")

    run.process.send_signal(signal.SIGTERM)
    account = Account.model_validate_json(run.finish())

    assert (account.generated, account.ok, run.process.returncode) == (0, True, 0)


def test_a_worker_that_dies_is_in_the_account_and_ends_the_run(topic: Topic, start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = start("--rate", "1000", "--workers", "2", "--topic", topic.name, "--event-log", str(log))
    wait_until(lambda: lines_of(log) > 1000, timeout=60, what="some events")

    psutil.Process(run.process.pid).children()[0].kill()
    account = Account.model_validate_json(run.finish())

    assert run.process.returncode == 1
    assert not account.ok
    assert len(account.errors) == 1
    assert "died (exit code -9)" in account.errors[0]
    assert (account.acknowledged + account.in_doubt, account.respawns) == (account.generated, 0)
    assert_bounds(account, topic)


def assert_bounds(account: Account, topic: Topic) -> None:
    """What is acknowledged is in Kafka, partition by partition; what is there beyond that was in doubt."""
    held = topic.end_offsets()
    assert all(n <= held[partition] for partition, n in acknowledged(account).items())
    assert 0 < account.acknowledged <= sum(held.values()) <= account.acknowledged + account.in_doubt


def test_killed_workers_are_replaced_and_the_account_is_exact(topic: Topic, start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = start(
        *("--rate", "3000", "--for", "12s", "--workers", "2", "--seed", "9", "--respawn"),
        *("--topic", topic.name, "--event-log", str(log)),
    )
    parent = psutil.Process(run.process.pid)
    for kill in range(3):
        # A worker writes a thousand lines at a time: since the last kill, both have sent some.
        wait_for_lines(log, lines_of(log) + 2000)
        parent.children()[kill % 2].kill()
    account = Account.model_validate_json(run.finish())

    assert run.process.returncode == 0, run.stderr.read_text()
    assert (account.ok, account.respawns, account.errors) == (True, 3, ())
    assert account.generated == 36_000, "records were left out or made twice"
    assert account.acknowledged + account.in_doubt == account.generated
    assert_bounds(account, topic)
    ids = [event["event_id"] for event in events_of(topic)]
    assert len(set(ids)) == len(ids), "a worker sent ids of the one before it"


def test_killed_workers_leave_only_what_was_under_way_in_doubt(topic: Topic, start: Start) -> None:
    """Without a log, of which each line is of a report, only failures are reported."""
    run = start(
        *("--rate", "100000", "--workers", "2", "--seed", "9", "--respawn"),
        *("--malformed", "0.001", "--duplicates", "0.01", "--topic", topic.name),
    )
    parent = psutil.Process(run.process.pid)
    for kill in range(2):
        wait_for_more(topic, 20_000)
        parent.children()[kill].kill()
    wait_for_more(topic, 20_000)
    run.process.send_signal(signal.SIGTERM)
    account = Account.model_validate_json(run.finish())

    assert run.process.returncode == 0, run.stderr.read_text()
    assert (account.ok, account.respawns, account.errors) == (True, 2, ())
    assert account.acknowledged + account.in_doubt == account.generated
    assert account.in_doubt <= 2 * 8192, "more than a block of each that was killed"
    assert_bounds(account, topic)
    ids = Counter(message.value()[5:42] for message in topic.records() if message.value())
    twice = sum(times > 1 for times in ids.values())
    assert 0 < twice <= account.generated * 0.02, "a worker sent ids of the one before it"


def test_a_worker_killed_while_it_waits_to_start_is_replaced(topic: Topic, start: Start) -> None:
    begin = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    run = start("--rate", "100", "--for", "1s", "--start", begin, "--respawn", "--topic", topic.name)
    parent = psutil.Process(run.process.pid)
    wait_until(lambda: len(parent.children()) == 2, timeout=60, what="two workers")
    parent.children()[0].kill()
    account = Account.model_validate_json(run.finish())

    assert (account.ok, account.respawns, account.in_doubt) == (True, 1, 0)
    assert account.acknowledged == 100 == sum(topic.end_offsets().values())


def test_workers_end_by_themselves_when_their_parent_is_killed(topic: Topic, start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = start("--rate", "1000", "--workers", "2", "--topic", topic.name, "--event-log", str(log))
    wait_until(lambda: lines_of(log) > 1000, timeout=60, what="some events")
    workers = psutil.Process(run.process.pid).children()

    run.process.kill()

    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    run.finish()


def test_a_missing_topic_is_an_error_that_says_so(kafka: KafkaSettings, registry: RegistrySettings) -> None:
    with pytest.raises(TopicMissingError, match=r"has no topic 'never-made'. The set-up makes it"):
        produce(ProduceOptions(topic="never-made", duration=timedelta(seconds=1)))


def test_an_incompatible_schema_is_refused_before_anything_is_sent(topic: Topic, registry: RegistrySettings) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    other = {
        "type": "record",
        "name": "UserEvent",
        "namespace": "etar",
        "fields": [{"name": "event_id", "type": "int"}],
    }
    client.register_schema(f"{topic.name}-value", Schema(json.dumps(other), "AVRO"))

    with pytest.raises(SchemaRefusedError, match="incompatible schema"):
        produce(ProduceOptions(topic=topic.name, duration=timedelta(seconds=1)))

    assert topic.end_offsets() == {}


def test_a_registry_that_goes_away_later_stops_nothing(
    topic: Topic, door: Callable[[str, int], Door], registry: RegistrySettings
) -> None:
    at = urlsplit(registry.url)
    to_registry = door(str(at.hostname), at.port or 80)
    to_registry.open()
    url = at._replace(netloc=f"127.0.0.1:{to_registry.port}").geturl()
    encoding = open_encoding(RegistrySettings(url=url), default_stream(), topic.name)

    to_registry.close()

    user = UUID(int=1)
    value = encoding.encode(UserEvent(user, user, user, "view", "success", 1, None, None, None, "mobile", "DE"))
    assert value[0] == 0


def test_a_file_is_sent_but_for_its_bad_lines_and_twice_is_once(topic: Topic, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    user = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    good = [
        {"user_id": user, "event_type": "view", "event_time": f"2026-11-21T10:31:{second:02}Z"} for second in range(50)
    ]
    file.write_text("\n".join(map(json.dumps, good[:20])) + "\nnonsense\n" + "\n".join(map(json.dumps, good[20:])))
    options = ProduceOptions(topic=topic.name, input=(file,))

    first, second = produce(options), produce(options)

    assert (first.ok, first.acknowledged, first.counts.rejected) == (True, 50, 1) == (True, 50, second.counts.rejected)
    assert first.first_minute == first.last_minute == "2026-11-21T10:31Z"
    assert first.reject_file == tmp_path / "mine.jsonl.rejects.jsonl"
    [reject] = [json.loads(line) for line in first.reject_file.read_text().splitlines()]
    assert (reject["line"], reject["raw"]) == (21, "nonsense")
    events = events_of(topic)
    assert len(events) == 100
    assert len({event["event_id"] for event in events}) == 50
    assert {event["event_time"] for event in events} == {
        datetime(2026, 11, 21, 10, 31, second, tzinfo=UTC) for second in range(50)
    }


def test_what_did_not_come_is_counted_by_reason_and_told_by_the_exit_code(
    topic: Topic, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jsonl"
    good = {"user_id": str(UUID(int=1)), "event_type": "view", "event_time": datetime.now(UTC).isoformat()}
    lines = [
        good,
        good | {"event_type": "buy"},
        good | {"event_type": "sell"},
        good | {"product_id": "x" * 1_048_500},  # with the rest, more than the topic's max.message.bytes
        good | {"event_time": "2026-01-05T10:31Z"},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    run = start("--input", str(file), "--topic", topic.name)

    account = Account.model_validate_json(run.finish())

    assert run.process.returncode == 3
    assert (account.ok, account.acknowledged, account.counts.rejected, account.counts.disbelieved) == (True, 2, 3, 1)
    assert [(each.lines, each.line) for each in account.reject_reasons] == [(2, 2), (1, 4)]
    told = run.stderr.read_text()
    assert "the pipeline refuses events as old" in told
    assert "3 lines are no event; each with its reason in" in told
    assert "2 x event_type is not one of view" in told
    assert "event_type is 'buy'" in told


def test_a_pipe_that_gives_nothing_is_stopped_and_that_is_no_success(
    topic: Topic, start: Start, tmp_path: Path
) -> None:
    pipe, rejects = tmp_path / "pipe", tmp_path / "rejects"
    os.mkfifo(pipe)
    with pipe.open("r+b", buffering=0) as writer:
        run = start("--input", str(pipe), "--rejects", str(rejects), "--topic", topic.name)
        writer.write(b'{"user_id": "nobody"}\n' * 3)
        wait_for_lines(rejects, 3)

        run.process.send_signal(signal.SIGTERM)
        account = Account.model_validate_json(run.finish())

    assert (run.process.returncode, account.acknowledged, account.ok) == (1, 0, False)
    assert "stopped before the end of the input" in account.errors[0]
