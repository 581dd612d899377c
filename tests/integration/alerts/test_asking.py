"""The places other than the store: the report API about itself, Kafka about the sinks; answering, and away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from etar.alerts.asking import Answers, Seldom, ask_api, ask_kafka
from etar.alerts.numbers import Sample
from etar.settings import KafkaSettings, ReportReadSettings, ReportStoreSettings
from etar.streams import Stream
from tests.integration.dashboard.serving import WRITE_TOKEN, RunningApi, serving
from tests.integration.topics import delete_topics, make_topic
from tests.ports import free_ports

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def values(answers: Answers) -> dict[str, float]:
    return {each.name: each.value for each in answers.samples}


@pytest.fixture
def api(empty_store: ReportStoreSettings, tmp_path: Path) -> Iterator[RunningApi]:
    with serving(empty_store, tmp_path / "api.log") as running:
        yield running


def test_the_api_tells_of_itself_and_of_nothing_that_it_was_told(api: RunningApi) -> None:
    answers = ask_api(api.read_settings)
    assert answers.problems == ()
    found = values(answers)
    assert (found["etar_api_up"], found["etar_api_error_ratio"], found["etar_api_pool_max_connections"]) == (1, 0, 8)
    assert not [name for name in found if not name.startswith("etar_api_")]


def test_an_api_that_refuses_the_token_is_there_and_says_why_it_tells_nothing(api: RunningApi) -> None:
    wrong = ReportReadSettings.of({"ETAR_API_URL": api.url, "ETAR_API_READ_TOKEN": WRITE_TOKEN})
    answers = ask_api(wrong)
    assert values(answers) == {"etar_api_up": 1}
    assert "403" in answers.problems[0]
    assert WRITE_TOKEN not in answers.problems[0]


def test_an_api_that_is_away_is_a_number() -> None:
    nowhere = ReportReadSettings.of(
        {"ETAR_API_URL": f"http://127.0.0.1:{free_ports(1)[0]}", "ETAR_API_READ_TOKEN": "r" * 16}
    )
    answers = ask_api(nowhere)
    assert values(answers) == {"etar_api_up": 0}
    assert "refused" in answers.problems[0]


@pytest.fixture
def stream(kafka: KafkaSettings) -> Iterator[Stream]:
    found = Stream(f"alerts-{uuid4().hex}")
    make_topic(kafka, found.topic, 2)
    yield found
    delete_topics(kafka, [found.topic])


def test_what_waits_for_a_sink_is_overdue_after_a_minute(kafka: KafkaSettings, stream: Stream) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for number in range(5):
        producer.produce(stream.topic, b"x", partition=number % 2)
    producer.flush()
    of = {"stream": stream.name}
    now = datetime.now(UTC)

    fresh = ask_kafka(kafka, [stream], now)
    assert fresh.samples == (
        Sample("etar_kafka_up", {}, 1.0),
        Sample("etar_sink_lag_records", of, 5.0),
        Sample("etar_sink_overdue_records", of, 0.0),
    )
    later = now + timedelta(minutes=2)
    assert values(ask_kafka(kafka, [stream], later))["etar_sink_overdue_records"] == 5

    sink = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": stream.sink_group})
    sink.commit(offsets=[TopicPartition(stream.topic, 0, 3), TopicPartition(stream.topic, 1, 1)], asynchronous=False)
    sink.close()
    assert values(ask_kafka(kafka, [stream], later)) == {
        "etar_kafka_up": 1,
        "etar_sink_lag_records": 1,
        "etar_sink_overdue_records": 1,
    }


def test_a_topic_that_is_not_there_costs_the_other_streams_nothing(kafka: KafkaSettings, stream: Stream) -> None:
    answers = ask_kafka(kafka, [Stream("nobody-made-this"), stream], datetime.now(UTC))
    assert values(answers) == {"etar_kafka_up": 1, "etar_sink_lag_records": 0, "etar_sink_overdue_records": 0}
    assert "nobody-made-this" in answers.problems[0]


def test_a_kafka_that_is_away_is_a_number_and_is_asked_once(stream: Stream) -> None:
    away = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}")
    answers = ask_kafka(away, [stream, stream], NOW)
    assert values(answers) == {"etar_kafka_up": 0}
    assert len(answers.problems) == 1


def test_what_is_asked_seldom_says_the_same_in_between() -> None:
    asked: list[datetime] = []

    def ask(now: datetime) -> Answers:
        asked.append(now)
        return Answers((Sample("etar_kafka_up", {}, float(len(asked))),))

    seldom = Seldom(ask, timedelta(seconds=15))
    said = [values(seldom(NOW + timedelta(seconds=after)))["etar_kafka_up"] for after in (0, 5, 14, 15, 20, 40)]
    assert said == [1, 1, 1, 2, 2, 3]
