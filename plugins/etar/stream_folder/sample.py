"""A sample of events, read from a file: JSON lines, CSV or Parquet. Values are as JSON has them, numbers exact."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from etar.instants import utc_text
from etar.records.json_text import read_object, read_value
from etar.records.record import BadRecordError
from etar.streams import RecordFormat

MOST_RECORDS = 10_000
"""Read of a sample: many more tell no more of it."""

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_DELIMITERS = ",;\t|"
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,75})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,75})(?:\.[0-9]{1,75})?(?:[eE][+-]?[0-9]{1,2})?")
_WITHOUT_ZONE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?")
_BOOLEANS = {"true": True, "false": False}


class SampleError(ValueError):
    """A sample that cannot be read; the message says what to change."""


@dataclass(frozen=True)
class Sample:
    """Events to make a stream of.

    ``schema_text``: the Avro schema that they were written with; then columns follow from it. ``topic``: that they are
    of. ``remarks``: what was not as it is in the file, for a person.
    """

    records: tuple[Mapping[str, Any], ...]
    format: RecordFormat = RecordFormat.JSON
    schema_text: str | None = None
    topic: str | None = None
    remarks: tuple[str, ...] = ()


def read_sample(file: Path) -> Sample:
    """The first events of a file. What it is, its content tells: Parquet, JSON, an Avro schema, else CSV.

    Raises:
        SampleError
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SampleError(f"{file} cannot be read: {error.strerror}") from error
    if content.startswith(_PARQUET):
        return _parquet(file)
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise SampleError(f"{file} cannot be unpacked: {error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SampleError(f"{file}, byte {error.start}: is not UTF-8; save it as UTF-8") from None
    start = text.lstrip()[:1]
    if not start:
        raise SampleError(f"{file} is empty; give a file with some events")
    if file.suffix == ".avsc":
        return Sample((), RecordFormat.AVRO, schema_text=text)
    sample = _json(file, text) if start in "{[" else _csv(file, text)
    if not sample.records:
        raise SampleError(f"{file} has no events; give a file with some")
    return sample


def as_json(value: Any) -> Any:  # noqa: PLR0911  (a line a type)
    """A value of Python as JSON has it: instants and dates as text, numbers exact; what JSON has not, is null."""
    match value:
        case datetime():
            return utc_text(value.replace(tzinfo=value.tzinfo or UTC))
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return value if value.is_finite() else None
        case list() | tuple():
            return [as_json(each) for each in value]
        case dict():
            return {str(name): as_json(each) for name, each in value.items()}
        case bytes():
            return value.decode("latin-1")
    return value


def _json(file: Path, text: str) -> Sample:
    try:
        whole = read_value(text.encode())
    except BadRecordError:
        whole = None
    if isinstance(whole, dict):
        return Sample((whole,))
    if isinstance(whole, list):
        if strange := next((each for each in whole if not isinstance(each, dict)), None):
            raise SampleError(f"{file} is a list of what are no objects, {strange!r:.60} for one")
        return Sample(tuple(whole[:MOST_RECORDS]))
    records: list[dict[str, Any]] = []
    bad: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(read_object(line.encode()))
        except BadRecordError as error:
            bad.append(f"line {number}: {error.detail}")
        if len(records) >= MOST_RECORDS:
            break
    if bad and not records:
        raise SampleError(f"{file} has no line that is a JSON object; {bad[0]}")
    remarks = (f"{len(bad)} lines are no records and were left out; {bad[0]}",) if bad else ()
    return Sample(tuple(records), remarks=remarks)


def _csv(file: Path, text: str) -> Sample:
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), MOST_RECORDS + 1))
    except csv.Error as error:
        raise SampleError(f"{file} is no CSV: {error}") from error
    header, *lines = [row for row in rows if row]
    if len(header) < 2 and not lines:
        raise SampleError(f"{file} is neither JSON lines nor Parquet nor CSV with a header")
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise SampleError(f"{file}, line 1: names the column {twice!r} twice; rename one")
    if "" in header:
        raise SampleError(f"{file}, line 1: a column has no name; name it")
    columns: dict[str, list[Any]] = {}
    remarks: list[str] = []
    for index, name in enumerate(header):
        cells = [line[index] if index < len(line) else "" for line in lines]
        columns[name], remark = _typed(cells)
        if remark:
            remarks.append(f"{name}: {remark}")
    records = tuple(
        {name: values[number] for name, values in columns.items() if values[number] is not None}
        for number in range(len(lines))
    )
    return Sample(records, remarks=tuple(remarks))


def _typed(cells: Sequence[str]) -> tuple[list[Any], str]:
    """Cells of one column as values of one type, and a remark."""
    given = [cell.strip() for cell in cells if cell.strip()]
    kinds: tuple[tuple[Callable[[str], bool], Callable[[str], Any], str], ...] = (
        (lambda cell: cell.lower() in _BOOLEANS, lambda cell: _BOOLEANS[cell.lower()], ""),
        (lambda cell: bool(_INTEGER.fullmatch(cell)), int, ""),
        (lambda cell: bool(_NUMBER.fullmatch(cell)), Decimal, ""),
        (
            lambda cell: bool(_WITHOUT_ZONE.fullmatch(cell)),
            lambda cell: f"{cell.replace(' ', 'T').replace(',', '.')}Z",
            "names no zone and was taken for UTC",
        ),
    )
    for is_one, convert, remark in kinds:
        if given and all(map(is_one, given)):
            return [convert(cell.strip()) if cell.strip() else None for cell in cells], remark
    return [cell if cell.strip() else None for cell in cells], ""


def _parquet(file: Path) -> Sample:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            batches = islice(parquet.iter_batches(batch_size=MOST_RECORDS), 1)
            rows = [row for batch in batches for row in batch.to_pylist()]
            schema = parquet.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SampleError(f"{file} is no Parquet that can be read: {error}") from error
    if not rows:
        raise SampleError(f"{file} has no events; give a file with some")
    remarks = tuple(
        f"{column.name}: names no zone and was taken for UTC"
        for column in schema
        if pa.types.is_timestamp(column.type) and column.type.tz is None
    )
    return Sample(tuple(as_json(row) for row in _without_bytes(rows)), remarks=remarks)


def _without_bytes(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {name: value for name, value in row.items() if not isinstance(value, bytes)}
