"""A user's own events from a file: JSONL, CSV or Parquet, a piece at a time, each line an event or a reason why not."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from uuid import NAMESPACE_URL, UUID, uuid5

from etar.report import EVENT_TYPES
from producer.user_event import STATUSES, UserEvent

_EVENT_IDS = uuid5(NAMESPACE_URL, "etar/input/events")
_SESSION_IDS = uuid5(NAMESPACE_URL, "etar/input/sessions")

FIELDS = UserEvent._fields
REQUIRED = ("user_id", "event_type", "event_time")

_LONGEST_LINE = 1024 * 1024
_ROWS_A_BATCH = 1000
_SURROGATE = re.compile("[\ud800-\udfff]")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVENT_TIMES = range(10**11, (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1))
"""From March 1973, so that a time in seconds is noticed (until the year 5138), to what a calendar holds."""


class InputFileError(ValueError):
    """The file as a whole cannot be used; the message says what to change."""


class RowError(ValueError):
    """One line is not an event; the message names the field and what is wrong with it."""


@dataclass(frozen=True)
class Reject:
    """A line that is not an event: its number (from 1; of a Parquet file, the row's), why, and the line itself."""

    line: int
    reason: str
    raw: str

    def to_json(self) -> str:
        return json.dumps({"line": self.line, "reason": self.reason, "raw": self.raw}, ensure_ascii=False)


def read_events(path: Path) -> Iterator[UserEvent | Reject]:
    """Every line of the file, in order, with memory for a few at a time.

    Raises:
        InputFileError: the file is missing, of an unknown type, broken, or its columns are not those of an event.
            Raised when iteration begins, but for a Parquet file that is damaged further on.
    """
    if not path.is_file():
        raise InputFileError(f"{path}: there is no such file")
    readers: dict[str, Callable[[Path], Iterator[UserEvent | Reject]]] = {
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputFileError(f"{path}: its type is told by its name, which has to end in {', '.join(readers)}")
    yield from reader(path)


def parse_event(row: Mapping[str, Any]) -> UserEvent:
    """One event from named values as a file holds them; empty text and None are both "not given".

    ``event_time`` is ISO 8601 (UTC if it names no zone), a datetime, or milliseconds since the epoch. Not given,
    ``status`` is error if there is an error_code and else success, ``device`` and ``country`` are ``unknown``, and
    ``session_id`` is the user's for that day. An ``event_id`` that is not given follows from the other values, so that
    the same line, sent twice or in another file, is still one event.

    Raises:
        RowError: a field is missing, unknown or of the wrong kind.
    """
    if unknown := [name for name in row if name not in FIELDS]:
        raise RowError(f"{unknown[0]!r} is not a field of an event ({', '.join(FIELDS)})")
    given = {name: value for name, value in row.items() if value is not None and value != ""}
    if missing := [name for name in REQUIRED if name not in given]:
        raise RowError(f"{missing[0]} is missing")
    user_id = _uuid("user_id", given["user_id"])
    event_time = _instant("event_time", given["event_time"])
    error_code = _text("error_code", given.get("error_code"))
    event = UserEvent(
        event_id=_EVENT_IDS,
        user_id=user_id,
        session_id=(
            _uuid("session_id", given["session_id"])
            if "session_id" in given
            else uuid5(_SESSION_IDS, f"{user_id}/{event_time // 86_400_000}")
        ),
        event_type=_one_of("event_type", given["event_type"], EVENT_TYPES),
        status=_one_of("status", given.get("status", "error" if error_code else "success"), STATUSES),
        event_time=event_time,
        product_id=_text("product_id", given.get("product_id")),
        amount=_whole_number("amount", given["amount"]) if "amount" in given else None,
        error_code=error_code,
        device=_text("device", given.get("device")) or "unknown",
        country=_text("country", given.get("country")) or "unknown",
    )
    if "event_id" in given:
        return event._replace(event_id=_uuid("event_id", given["event_id"]))
    content = json.dumps([str(value) if isinstance(value, UUID) else value for value in event[1:]])
    return event._replace(event_id=uuid5(_EVENT_IDS, content))


def _uuid(name: str, value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if isinstance(value, bytes) and len(value) == 16:  # Parquet's own type for it
        return UUID(bytes=value)
    if isinstance(value, str):
        with suppress(ValueError):
            return UUID(value)
    raise _refusal(name, value, "a UUID")


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refusal(name, value, "text")
    if _SURROGATE.search(value):  # JSON can spell half a pair, UTF-8 cannot
        raise _refusal(name, value, "text that UTF-8 can hold")
    return value


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise _refusal(name, value, f"one of {', '.join(allowed)}")


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, float) and value.is_integer():  # what pandas makes of a column of whole numbers with gaps
        value = int(value)
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise _refusal(name, value, "a whole number of minor units (cents), of at most 64 bits")
    return value


def _instant(name: str, value: object) -> int:
    wanted = "an ISO 8601 time like 2026-11-21T10:31:05.250Z or milliseconds since the epoch"
    if isinstance(value, str):
        with suppress(ValueError):
            value = int(value) if _WHOLE_NUMBER.fullmatch(value) else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        value = int((aware - _EPOCH) // timedelta(milliseconds=1))
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refusal(name, value, wanted)
    if value not in _EVENT_TIMES:
        raise _refusal(name, value, "milliseconds since the epoch, from 1973 to 9999")
    return value


def _refusal(name: str, value: object, wanted: str) -> RowError:
    shown = repr(value)
    return RowError(f"{name} is {shown if len(shown) <= 80 else shown[:77] + '...'}, not {wanted}")


def _event_or_reject(row: Mapping[str, Any], line: int, raw: Callable[[], str]) -> UserEvent | Reject:
    try:
        return parse_event(row)
    except RowError as error:
        return Reject(line, str(error), raw())


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes without the line break, and whether the line was cut at 1 MiB (its rest is skipped)."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        cut = not line.endswith(b"\n") and len(line) == _LONGEST_LINE
        rest = line
        while cut and rest and not rest.endswith(b"\n"):
            rest = file.readline(_LONGEST_LINE)
        yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, cut


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", errors="backslashreplace").rstrip("\r\n")


def _read_jsonl(path: Path) -> Iterator[UserEvent | Reject]:
    with path.open("rb") as file:
        for number, line, cut in _lines(file):
            if not line.strip():
                continue
            if cut:
                yield Reject(number, f"the line is longer than {_LONGEST_LINE} bytes", _shown(line))
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Reject(number, f"not JSON in UTF-8: {error}", _shown(line))
                continue
            if isinstance(row, dict):
                yield _event_or_reject(row, number, lambda line=line: _shown(line))  # type: ignore[misc]
            else:
                yield Reject(number, "not a JSON object", _shown(line))


def _read_csv(path: Path) -> Iterator[UserEvent | Reject]:
    with path.open("rb") as file:
        source = _CsvLines(_lines(file))
        rows = csv.reader(source, strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
        except csv.Error as error:
            raise InputFileError(f"{path}: its first line has to name the columns ({error})") from error
        _check_columns(path, header)
        while True:
            source.start_row()
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Reject(source.first, f"not CSV: {error}", source.raw())
                continue
            if not cells:
                continue
            if source.cut:
                yield Reject(source.first, f"the line is longer than {_LONGEST_LINE} bytes", source.raw())
            elif any(_SURROGATE.search(cell) for cell in cells):
                yield Reject(source.first, "not UTF-8", source.raw())
            elif len(cells) != len(header):
                yield Reject(source.first, f"{len(cells)} cells for {len(header)} columns", source.raw())
            else:
                yield _event_or_reject(dict(zip(header, cells, strict=True)), source.first, source.raw)


class _CsvLines(Iterator[str]):
    """Lines for a csv reader, remembering those of the row being read: a quoted cell may span several."""

    def __init__(self, lines: Iterator[tuple[int, bytes, bool]]) -> None:
        self._lines = lines
        self._last = 0
        self.start_row()

    def start_row(self) -> None:
        self.first = self._last + 1
        self.cut = False
        self._row: list[bytes] = []

    def raw(self) -> str:
        return _shown(b"".join(self._row))

    def __next__(self) -> str:
        self._last, line, cut = next(self._lines)
        self._row.append(line)
        self.cut = self.cut or cut
        return line.decode("utf-8", errors="surrogateescape")


def _read_parquet(path: Path) -> Iterator[UserEvent | Reject]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _arrow_errors(path, pa), pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(_ROWS_A_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield _event_or_reject(row, number, lambda row=row: json.dumps(row, default=_plain))  # type: ignore[misc]


@contextmanager
def _arrow_errors(path: Path, pa: Any) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputFileError(f"{path} cannot be read as Parquet: {error}") from error


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _check_columns(path: Path, names: list[str]) -> None:
    if missing := [name for name in REQUIRED if name not in names]:
        raise InputFileError(f"{path} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}")
    if unknown := [name for name in names if name not in FIELDS]:
        raise InputFileError(
            f"{path} has columns that are not fields of an event: {', '.join(unknown)}. "
            f"Leave them out; the fields are {', '.join(FIELDS)}."
        )
    if len(set(names)) < len(names):
        raise InputFileError(f"{path} names a column twice")
