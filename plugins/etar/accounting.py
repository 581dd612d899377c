"""``verify``: the account of a range of settled minutes, from the five places themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from pydantic import AwareDatetime, BaseModel, NonNegativeInt, TypeAdapter, ValidationError

from etar import dead_letters
from etar.clients import object_store_client, warehouse_client
from etar.kafka_offsets import TopicOffsets, settled
from etar.minute import MINUTE, MinuteWindow
from etar.reconciliation import MinuteFacts, PartitionFacts, Verification, reconcile
from etar.report import PublishedReport
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    PipelineSettings,
    ReportReadSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import USER_INTERACTIONS, Stream

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from mypy_boto3_s3 import S3Client

REPORT_ALLOWANCE = timedelta(minutes=2)
"""Age from which a minute is in the default range: a report takes seconds, so one missing by then is a fault."""

_HORIZON_MARGIN = timedelta(minutes=5)
"""The oldest minutes leave the table while they would be counted."""

_SAMPLE = 20
_REPORTS_PER_ANSWER = 1440
_FOOTER_BYTES = 64 * 1024
_PARQUET_TAIL = 8  # footer length (4 bytes) and "PAR1"
_REPORTS = TypeAdapter(list[PublishedReport])


class UnverifiableRangeError(ValueError):
    """The range is not one that can be compared: upside down, not settled yet, or already leaving the table."""


class PlaceUnavailableError(ConnectionError):
    """One of the five places does not answer, or not with what it should."""


@dataclass(frozen=True)
class ProducerAccount:
    """What a producer says that it sent: records acknowledged per partition, between two instants."""

    topic: str
    started_at: datetime
    ended_at: datetime
    acknowledged: Mapping[int, int]

    @classmethod
    def read(cls, path: Path) -> Self:
        """From the file that ``etar produce --account FILE`` writes.

        Raises:
            UnverifiableRangeError: the file cannot be read, or is no such account.
        """
        try:
            document = _AccountFile.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UnverifiableRangeError(f"{path} is no account of a producer: {error}") from error
        return cls(
            topic=document.topic,
            started_at=document.started_at,
            ended_at=document.ended_at,
            # Partition -1 holds records that failed before they were given a partition: none was acknowledged.
            acknowledged={p: sent.acknowledged for p, sent in document.counts.partitions.items() if p >= 0},
        )


class _Sent(BaseModel):
    acknowledged: NonNegativeInt


class _Counts(BaseModel):
    partitions: dict[int, _Sent]


class _AccountFile(BaseModel):
    topic: str
    started_at: AwareDatetime
    ended_at: AwareDatetime
    counts: _Counts


@dataclass(frozen=True)
class Range:
    """The minutes ``[first, end)``, all settled, and the offsets that each partition took in over them."""

    first: MinuteWindow
    end: MinuteWindow
    offsets: Mapping[int, tuple[int, int]]


def verify(
    from_: MinuteWindow | None = None,
    to: MinuteWindow | None = None,
    *,
    stream: Stream = USER_INTERACTIONS,
    producer_account: ProducerAccount | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Verification:
    """Compare the five places over the minutes ``[from_, to)``. Only settled minutes are compared, so traffic may flow.

    Args:
        from_: default: the pipeline's first minute, or the oldest that is safely within the horizon.
        to: default: after the newest settled minute that is old enough to be reported (:data:`REPORT_ALLOWANCE`).
        producer_account: compared with what Kafka took in during that run; exact if nobody else wrote to the topic and
            the producer's clock is the broker's.

    Returns:
        An account without minutes, and no difference, while there is no minute to compare by default.

    Raises:
        UnverifiableRangeError: the range given cannot be compared; the message says which one can.
        PlaceUnavailableError, KafkaUnavailableError, UnknownTopicError: a place does not answer.
    """
    pipeline = get_settings(PipelineSettings)
    with TopicOffsets.connect(stream.topic, settings=get_settings(KafkaSettings)) as offsets:
        span = resolve_range(from_, to, offsets=offsets, group=stream.sink_group, pipeline=pipeline, now=now())
        sent = _sent(producer_account, offsets, stream) if producer_account else {}
    windows = list(MinuteWindow.between(span.first, span.end))
    reports = read_reports(get_settings(ReportReadSettings), stream, span.first, span.end)
    parquet = parquet_rows(get_settings(ObjectStoreSettings), stream, windows)
    with _Table(get_settings(WarehouseSettings), stream) as table:
        rows = table.minutes(span.first, span.end)
        dead = table.dead_letters(span.first, span.end)
        partitions = [
            table.partition(partition, first, end, sent.get(partition))
            for partition, (first, end) in sorted(span.offsets.items())
        ]
    minutes = [
        MinuteFacts(
            window=window,
            rows=rows.get(window, (0, 0))[0],
            unique=rows.get(window, (0, 0))[1],
            dead_letters=dead.get(window, 0),
            parquet_rows=parquet[window],
            report=reports.get(window),
        )
        for window in windows
    ]
    return reconcile(minutes, partitions, stream=stream)


def resolve_range(
    from_: MinuteWindow | None,
    to: MinuteWindow | None,
    *,
    offsets: TopicOffsets,
    group: str,
    pipeline: PipelineSettings,
    now: datetime,
) -> Range:
    """The minutes to compare, and their offsets; see :func:`verify` for the defaults.

    Raises:
        UnverifiableRangeError: a bound that was given cannot be compared.
    """
    committed = offsets.committed(group)

    def is_settled(window: MinuteWindow) -> bool:
        over = window.end + pipeline.grace
        return over <= now and settled(offsets.held_at(over), committed)

    oldest = _first_at_or_after(now - pipeline.horizon + _HORIZON_MARGIN)
    first = from_ or max(_first_at_or_after(pipeline.start_date), oldest)
    if first < oldest:
        raise UnverifiableRangeError(
            f"{first} is leaving the table, which keeps {pipeline.horizon_hours:g} h; the oldest minute that can be "
            f"compared is {oldest}"
        )
    if to is None:
        end = MinuteWindow.containing(now - REPORT_ALLOWANCE)
        while end > first and not is_settled(end.previous):
            end = end.previous
        end = max(first, end)
    else:
        end = to
        if end <= first:
            raise UnverifiableRangeError(f"the range from {first} to {end} has no minute; its end is exclusive")
        if not is_settled(end.previous):
            raise UnverifiableRangeError(
                f"minute {end.previous} is not settled yet: it is not over, or the sink is still behind it; "
                "give an earlier end, or wait (`etar status` shows whether the sink runs)"
            )
    start_offsets, end_offsets = offsets.held_at(first.start), offsets.held_at(end.start)
    return Range(first, end, {p: (start_offsets[p], end_offsets[p]) for p in end_offsets})


def read_reports(
    settings: ReportReadSettings, stream: Stream, first: MinuteWindow, end: MinuteWindow
) -> dict[MinuteWindow, PublishedReport]:
    """The reports of ``[first, end)`` in their newest revision.

    Raises:
        PlaceUnavailableError: the report API is away, or answers something else.
    """
    headers = {"Authorization": f"Bearer {settings.read_token.get_secret_value()}"}
    found: dict[MinuteWindow, PublishedReport] = {}
    with httpx.Client(base_url=settings.url, headers=headers, timeout=30) as client:
        for start, stop in _pages(first, end):
            query = {"stream": stream.name, "from": start.isoformat(), "to": stop.isoformat()}
            try:
                answer = client.get("/reports", params={**query, "limit": _REPORTS_PER_ANSWER}).raise_for_status()
                reports = _REPORTS.validate_json(answer.content)
            except (httpx.HTTPError, ValidationError) as error:
                raise PlaceUnavailableError(f"the report API at {settings.url} gives no reports: {error}") from error
            found |= {report.window: report for report in reports}
    return found


def parquet_rows(
    settings: ObjectStoreSettings, stream: Stream, windows: Sequence[MinuteWindow]
) -> dict[MinuteWindow, int | None]:
    """Rows of each minute's Parquet object, from its footer alone; None where there is no object.

    Raises:
        PlaceUnavailableError: the object store is away or refuses, or an object is not Parquet.
    """
    client = object_store_client(settings)
    with ThreadPoolExecutor(max_workers=4) as pool:
        counts = pool.map(lambda window: _object_rows(client, settings.bucket, stream.extract_key(window)), windows)
        return dict(zip(windows, counts, strict=True))


def _object_rows(client: S3Client, bucket: str, key: str) -> int | None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        tail = _tail(client, bucket, key, _FOOTER_BYTES)
        if tail is None:
            return None
        needed = int.from_bytes(tail[-_PARQUET_TAIL:-4], "little") + _PARQUET_TAIL
        if needed > len(tail):
            tail = _tail(client, bucket, key, needed) or b""
        return int(pq.read_metadata(pa.BufferReader(tail)).num_rows)
    except (BotoCoreError, ClientError) as error:
        raise PlaceUnavailableError(f"the object store does not give s3://{bucket}/{key}: {error}") from error
    except pa.ArrowInvalid as error:
        raise PlaceUnavailableError(f"s3://{bucket}/{key} is not whole Parquet: {error}") from error


def _tail(client: S3Client, bucket: str, key: str, size: int) -> bytes | None:
    from botocore.exceptions import ClientError

    try:
        return client.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{size}")["Body"].read()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
            return None
        raise


class _Table:
    """Counts from the warehouse. A context manager."""

    def __init__(self, settings: WarehouseSettings, stream: Stream) -> None:
        self._settings = settings
        self._stream = stream
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def minutes(self, first: MinuteWindow, end: MinuteWindow) -> dict[MinuteWindow, tuple[int, int]]:
        """``{minute: (rows, distinct event ids)}``; minutes without rows are left out."""
        found = self._query(
            f"SELECT event_minute, count(), uniqExact(event_id) FROM {self._stream.table} FINAL "
            "WHERE event_minute >= {first:DateTime('UTC')} AND event_minute < {end:DateTime('UTC')} "
            "GROUP BY event_minute SETTINGS do_not_merge_across_partitions_select_final = 1",
            first=first.start,
            end=end.start,
        )
        return {_window(minute): (rows, unique) for minute, rows, unique in found}

    def dead_letters(self, first: MinuteWindow, end: MinuteWindow) -> dict[MinuteWindow, int]:
        """Dead letters by the minute in which the broker took the record."""
        found = self._query(
            f"SELECT toStartOfMinute(_timestamp) AS minute, uniqExact(_partition, _offset) FROM {dead_letters.TABLE} "
            "WHERE _topic = {topic:String} "
            "AND _timestamp >= {first:DateTime('UTC')} AND _timestamp < {end:DateTime('UTC')} GROUP BY minute",
            topic=self._stream.topic,
            first=first.start,
            end=end.start,
        )
        return {_window(minute): letters for minute, letters in found}

    def partition(self, partition: int, first: int, end: int, sent: tuple[int, int] | None) -> PartitionFacts:
        """Where the offsets ``[first, end)`` are; ``sent``: (acknowledged, appended) of a producer's run."""
        bound = {"topic": self._stream.topic, "partition": partition, "first": first, "end": end}
        here = (
            "_topic = {topic:String} AND _partition = {partition:Int32} "
            "AND _offset >= {first:Int64} AND _offset < {end:Int64}"
        )
        in_table = f"SELECT _offset FROM {self._stream.table} WHERE {here}"
        in_letters = f"SELECT _offset FROM {dead_letters.TABLE} WHERE {here}"
        both = f"{in_table} AND _offset IN ({in_letters})"
        ((rows, letters, common),) = self._query(
            f"SELECT (SELECT uniqExact(_offset) FROM ({in_table})), (SELECT uniqExact(_offset) FROM ({in_letters})), "
            f"(SELECT uniqExact(_offset) FROM ({both}))",
            **bound,
        )
        complete = rows + letters - common == end - first
        gaps = (
            []
            if complete
            else self._query(
                "SELECT previous + 1, offset - 1 FROM (SELECT _offset AS offset, "
                "lagInFrame(_offset, 1, {first:Int64} - 1) OVER (ORDER BY _offset ROWS BETWEEN UNBOUNDED PRECEDING "
                f"AND CURRENT ROW) AS previous FROM (SELECT DISTINCT _offset FROM ({in_table} UNION ALL {in_letters} "
                "UNION ALL SELECT {end:Int64}))) WHERE offset > previous + 1 "
                f"ORDER BY offset LIMIT {_SAMPLE}",
                **bound,
            )
        )
        sample = self._query(f"SELECT DISTINCT _offset FROM ({both}) ORDER BY _offset LIMIT {_SAMPLE}", **bound)
        acknowledged, appended = sent or (None, None)
        return PartitionFacts(
            partition=partition,
            first=first,
            end=end,
            in_table=rows,
            in_dead_letters=letters,
            in_both=common,
            missing_ranges=tuple((int(low), int(high)) for low, high in gaps),
            both_sample=tuple(offset for (offset,) in sample),
            acknowledged=acknowledged,
            appended=appended,
        )

    def _query(self, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        settings = self._settings
        try:
            if self._client is None:
                self._client = warehouse_client(settings)
            rows: Sequence[Sequence[Any]] = self._client.query(query, parameters=parameters).result_rows
        except (ClickHouseError, OSError) as error:
            where = f"{settings.host}:{settings.port}"
            raise PlaceUnavailableError(f"the warehouse at {where} does not answer: {error}") from error
        return rows


def _sent(account: ProducerAccount, offsets: TopicOffsets, stream: Stream) -> dict[int, tuple[int, int]]:
    if account.topic != stream.topic:
        raise UnverifiableRangeError(f"the account is of topic {account.topic!r}, not of {stream.topic!r}")
    before, after = offsets.held_at(account.started_at), offsets.held_at(account.ended_at)
    return {p: (account.acknowledged.get(p, 0), after[p] - before[p]) for p in after}


def _pages(first: MinuteWindow, end: MinuteWindow) -> Iterator[tuple[datetime, datetime]]:
    start = first.start
    while start < end.start:
        stop = min(start + _REPORTS_PER_ANSWER * MINUTE, end.start)
        yield start, stop
        start = stop


def _first_at_or_after(instant: datetime) -> MinuteWindow:
    window = MinuteWindow.containing(instant)
    return window if window.start == instant else window.next


def _window(minute: datetime) -> MinuteWindow:
    return MinuteWindow(minute if minute.tzinfo else minute.replace(tzinfo=UTC))
