"""Level 3 of the contract of a stream's folder (``tests/streams`` has the others): its samples go through Kafka, the
intake and the auditor, the extract, its own transform in Spark and the API, and the account is exact."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from pyspark.sql import SparkSession

from cli.reports import api_client
from etar.extracts import Extract
from etar.minute import MinuteWindow
from etar.records.formats import codec_of
from etar.records.intake import Decoded
from etar.records.registry import RegisteredSchema
from etar.report import MinuteReport
from etar.settings import ReportReadSettings, get_settings
from etar.stream_code import report_model
from etar.stream_folder.checks.report import GOLDEN_FILE, expected_report
from etar.stream_folder.examples import FILE_NAME, Example, read_examples, value_of
from etar.streams import Stream, TimeForm, catalogue
from spark_apps.minute_report import report_of
from tests.integration.accounted import AccountedWorld
from tests.integration.audit.conftest import PARTITIONS, Place, milliseconds
from tests.integration.schemas import register

STREAMS = [stream for stream in catalogue().streams.values() if stream.like is None]


@dataclass(kw_only=True)
class SampledWorld(AccountedWorld):
    """A stream like the folder's, whose samples arrive within one minute, and a Spark for its reports."""

    spark: SparkSession
    scratch: Path
    sent: dict[Place, Example] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        """When the minute is settled, as its last record comes with its end."""
        return self.minute.end + timedelta(seconds=31)

    def send_samples(self) -> None:
        """All of them, as they were written, with their times moved to the minute."""
        assert self.stream.folder is not None
        read = read_examples((self.stream.folder / FILE_NAME).read_text(encoding="utf-8"))
        moved = [self._moved(example) for _, example in read if isinstance(example, Example)]
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers, "acks": "all"})
        codec, offsets = codec_of(self.stream), dict.fromkeys(range(PARTITIONS), 0)
        for number, example in enumerate(sorted(moved, key=lambda each: each.appended)):
            partition = number % PARTITIONS
            producer.produce(
                self.stream.topic,
                value=value_of(example, self.stream, codec, self._registered),
                partition=partition,
                timestamp=milliseconds(example.appended),
            )
            self.sent[partition, offsets[partition]] = example
            offsets[partition] += 1
        assert producer.flush(60) == 0

    def good_ones(self) -> dict[Place, Example]:
        return {place: example for place, example in self.sent.items() if example.row is not None}

    def letters_with_details(self) -> dict[Place, tuple[str, str]]:
        query = "SELECT _partition, _offset, reason, detail FROM dead_letters FINAL WHERE _topic = {topic:String}"
        return {(partition, offset): (reason, detail) for partition, offset, reason, detail in self.query(query)}

    def report_of(self, window: MinuteWindow, extract: Extract) -> MinuteReport:
        """As the pipeline makes it, by the stream's own transform."""
        if not extract.rows:
            return report_model(self.stream).empty(window, stream=self.stream.name)
        file = self.scratch / f"{window.slug}.parquet"
        file.write_bytes(self.parquet(window))
        rows = self.spark.read.parquet(f"file:{file}")
        return report_of(rows, stream=self.stream, window=window, source=extract.source or "")

    def _registered(self, schema: RegisteredSchema) -> int:
        """Each under a subject of its own: one that lacks a field is no version of the other."""
        return register(self.registry, f"{self.stream.topic}-{uuid4()}", schema.text, kind=schema.kind)

    def _moved(self, example: Example) -> Example:
        """To the minute: a good one by its event's time, any other by when it was appended. Nothing is appended later
        than in the minute, so that all of it arrives there."""
        happened = str((example.row or {}).get(self.stream.time, ""))
        of = datetime.fromisoformat(happened) if happened else example.appended
        by = self.minute.start - MinuteWindow.containing(of.astimezone(UTC)).start
        appended = min(example.appended + by, self.minute.end - timedelta(milliseconds=1))
        record: Mapping[str, Any] | None = example.record
        if record and self.stream.time in record:
            record = {**record, self.stream.time: moved_time(record[self.stream.time], by, self.stream.time_form)}
        return replace(example, appended=appended, record=record)


def moved_time(value: Any, by: timedelta, form: TimeForm) -> Any:
    """The same time later, in the form in which a sample has it; what is none stays."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value) + by
        except ValueError:
            return value
        return at.isoformat(timespec="auto" if at.microsecond % 1000 else "milliseconds")
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        seconds = int(by.total_seconds())
        return value + seconds * (1000 if form is TimeForm.UNIX_MS else 1)
    return value


@pytest.fixture
def sampled(
    stream: Stream, new_accounted: Callable[..., AccountedWorld], spark: SparkSession, tmp_path: Path
) -> SampledWorld:
    return SampledWorld(**vars(new_accounted(stream.name)), spark=spark, scratch=tmp_path)


@pytest.mark.parametrize("stream", STREAMS, ids=[stream.name for stream in STREAMS])
def test_its_samples_go_through_every_place_and_the_account_is_exact(stream: Stream, sampled: SampledWorld) -> None:
    """The sink loses half of the rows and half of the bad records: the auditor knows the stream's records, too."""
    sampled.send_samples()
    good = sampled.good_ones()
    sampled.sink(lambda decoded: Decoded(list(decoded.rows)[::2], list(decoded.letters)[::2]))
    assert 0 < len(sampled.rows()) < len(good)

    sampled.audit(minutes=4)

    assert sampled.rows() == sorted(good)
    letters = sampled.letters_with_details()
    assert letters.keys() == sampled.sent.keys() - good.keys()
    for place, (reason, detail) in letters.items():
        wanted = sampled.sent[place]
        assert (reason, detail[: len(wanted.detail)]) == (str(wanted.reason), wanted.detail), wanted.about

    sampled.run_pipeline(*(sampled.earlier(back) for back in (3, 2, 1, 0)))

    with api_client(get_settings(ReportReadSettings)) as reader:
        query = {"stream": sampled.stream.name, "minute": str(sampled.minute)}
        posted = reader.get("/report", params=query).raise_for_status().json()
    assert body_of(posted) == golden_body(stream)
    account = sampled.verify()
    assert account.ok, account
    assert account.totals.records == len(sampled.sent)
    assert account.totals.events == golden_body(stream)["total_events"]


def golden_body(stream: Stream) -> dict[str, Any]:
    assert stream.folder is not None
    golden = json.loads((stream.folder / GOLDEN_FILE).read_text(encoding="utf-8"))
    return body_of(json.loads(expected_report(stream, golden).model_dump_json()))


def body_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What does not say of which minute and stream it is, nor when it was published."""
    own = {"stream", "minute", "source_object", "revision", "published_at"}
    return {name: value for name, value in report.items() if name not in own}
