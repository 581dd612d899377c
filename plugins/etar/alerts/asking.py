"""Asks the places for the numbers. A place that does not answer is a number, too."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.error import HTTPError

from etar.alerts.numbers import METRICS, Sample
from etar.kafka.offsets import KafkaUnavailableError, TopicOffsets, UnknownTopicError, behind
from etar.settings import KafkaSettings, ReportReadSettings
from etar.streams import Stream

OVERDUE = timedelta(minutes=1)
"""A record that waits for the sink for so long is more than what comes in at any moment."""

_API_SECONDS = 3.0
_KAFKA_SECONDS = 5.0
_KAFKA_PAUSE = timedelta(seconds=15)
"""Kafka is asked less often than the others: clients are made for it each time, and none is kept."""


@dataclass(frozen=True)
class Answers:
    """Numbers, and what could not be asked, in words."""

    samples: tuple[Sample, ...]
    problems: tuple[str, ...] = ()

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.samples + other.samples, self.problems + other.problems)


def ask_api(settings: ReportReadSettings) -> Answers:
    """The report API's numbers of itself."""
    from prometheus_client.parser import text_string_to_metric_families

    request = urllib.request.Request(  # noqa: S310
        f"{settings.url}/metrics", headers={"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_API_SECONDS) as answer:  # noqa: S310
            text = answer.read().decode()
    except HTTPError as error:
        return Answers((Sample("etar_api_up", {}, 1.0),), (f"the report API does not give its numbers: {error}",))
    except (OSError, http.client.HTTPException) as error:
        return Answers((Sample("etar_api_up", {}, 0.0),), (f"the report API at {settings.url}: {error}",))
    own = (
        Sample(each.name, dict(each.labels), each.value)
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.name.startswith("etar_api_") and each.name in METRICS
    )
    return Answers((Sample("etar_api_up", {}, 1.0), *own))


def ask_kafka(settings: KafkaSettings, streams: Sequence[Stream], now: datetime) -> Answers:
    """How far each stream's sink is behind. Without an answer the other streams are not asked for."""
    samples: list[Sample] = []
    problems: list[str] = []
    try:
        for stream in streams:
            try:
                samples += _of_sink(settings, stream, now)
            except UnknownTopicError as error:
                problems.append(str(error))
    except KafkaUnavailableError as error:
        return Answers((Sample("etar_kafka_up", {}, 0.0),), (str(error),))
    return Answers((Sample("etar_kafka_up", {}, 1.0), *samples), tuple(problems))


def _of_sink(settings: KafkaSettings, stream: Stream, now: datetime) -> Iterator[Sample]:
    of = {"stream": stream.name}
    with TopicOffsets.connect(stream.topic, settings=settings, timeout=_KAFKA_SECONDS) as offsets:
        # The targets first: what comes in meanwhile does not wait.
        overdue, end = offsets.held_at(now - OVERDUE), offsets.end()
        committed = offsets.committed(stream.sink_group)
    yield Sample("etar_sink_lag_records", of, float(sum(behind(end, committed).values())))
    yield Sample("etar_sink_overdue_records", of, float(sum(behind(overdue, committed).values())))


class Seldom:
    """Gives the same answers again until they are too old."""

    def __init__(self, ask: Callable[[datetime], Answers], pause: timedelta = _KAFKA_PAUSE) -> None:
        self._ask = ask
        self._pause = pause
        self._asked: datetime | None = None
        self._known = Answers(())

    def __call__(self, now: datetime) -> Answers:
        if self._asked is None or now - self._asked >= self._pause:
            self._known = self._ask(now)
            self._asked = now
        return self._known
