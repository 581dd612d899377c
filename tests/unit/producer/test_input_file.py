"""A user's own events: what is read, what is refused and why."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from csv import writer as csv_writer
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from etar.rows.columns import Column, plain_values
from etar.rows.conversion import Row
from etar.rows.values import RowError, Values
from producer.input_file import InputFileError, Piece, Reject, StoppedError, find_files, read_pieces
from streams.user_interactions.event import EVENT_TYPES
from streams.user_interactions.input import RowConverter
from streams.user_interactions.input_cells import LAYOUT
from tests.unit.producer.drafts import ENCODING
from tests.user_events import UserEvent

USER = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
HEADER = b"\0\0\0\0\1"
AT = "2026-11-21T10:31:05.250Z"
AT_MS = int(datetime(2026, 11, 21, 10, 31, 5, 250_000, tzinfo=UTC).timestamp() * 1000)
LEAST: dict[str, Any] = {"user_id": USER, "event_type": "view", "event_time": AT}
FULL: dict[str, Any] = {
    **LEAST,
    "event_id": "00000000-0000-4000-8000-000000000001",
    "session_id": "00000000-0000-4000-8000-000000000002",
    "event_type": "purchase",
    "status": "error",
    "product_id": "P1",
    "amount": 1299,
    "error_code": "payment_declined",
    "device": "mobile",
    "country": "DE",
}


def jsonl(path: Path, *lines: object) -> Path:
    file = path / "events.jsonl"
    file.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return file


def csv(path: Path, text: str | bytes, *, rows: Iterable[Iterable[object]] | None = None) -> Path:
    file = path / "events.csv"
    if rows is not None:
        with file.open("w", newline="", encoding="utf-8") as written:
            csv_writer(written).writerows(rows)
        return file
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    file = path / "events.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def parse_event(row: dict[str, Any], values: Values | None = None) -> UserEvent:
    [made] = converted(converter(values), {name: [value] for name, value in row.items()}, 1)
    if isinstance(made, RowError):
        raise made
    return event_of(made.value)


def event_of(value: bytes) -> UserEvent:
    fields = ENCODING.event_of(value)
    return UserEvent(**fields | {"event_time": ENCODING.time_of(fields)})


def converted(converter: RowConverter, columns: Mapping[str, Column], rows: int) -> list[Row | RowError]:
    """What became of each row, in order."""
    records, errors = converter.convert(columns, rows)
    made = map(Row, records.times.tolist(), records.keys, records.values)
    found = [errors[index] if index in errors else next(made) for index in range(rows)]
    assert next(made, None) is None
    return found


def converter(values: Values | None = None) -> RowConverter:
    return RowConverter(values or Values(), HEADER)


def read_events(*paths: Path, values: Values | None = None) -> Iterator[UserEvent | Reject]:
    for _, _, each in numbered(*paths, values=values):
        yield each


def numbered(*paths: Path, values: Values | None = None) -> Iterator[tuple[str, int, UserEvent | Reject]]:
    convert = partial(converted, converter(values))
    for piece in read_pieces(find_files(paths), LAYOUT):
        if isinstance(piece, Reject):
            yield piece.file, piece.line, piece
            continue
        assert isinstance(piece, Piece)
        for index, made in enumerate(convert(piece.columns, len(piece.lines))):
            result = event_of(made.value) if isinstance(made, Row) else piece.reject(index, made)
            yield piece.file, piece.lines[index], result


def rejects(*paths: Path) -> list[Reject]:
    return sorted((line for line in read_events(*paths) if isinstance(line, Reject)), key=lambda each: each.line)


def events(*paths: Path) -> list[UserEvent]:
    return [line for line in read_events(*paths) if isinstance(line, UserEvent)]


class TestOneRow:
    def test_every_field_that_is_given_is_taken(self) -> None:
        assert parse_event(FULL) == UserEvent(
            event_id=UUID(FULL["event_id"]),
            user_id=UUID(USER),
            session_id=UUID(FULL["session_id"]),
            event_type="purchase",
            status="error",
            event_time=AT_MS,
            product_id="P1",
            amount=1299,
            error_code="payment_declined",
            device="mobile",
            country="DE",
        )

    @pytest.mark.parametrize("nothing", [None, ""])
    def test_what_is_not_given_gets_a_default(self, nothing: object) -> None:
        optional = FULL.keys() - LEAST.keys()
        event = parse_event(LEAST | dict.fromkeys(optional, nothing))
        assert event == parse_event(LEAST)
        assert (event.status, event.device, event.country) == ("success", "unknown", "unknown")
        assert (event.product_id, event.amount, event.error_code) == (None, None, None)

    def test_an_error_code_alone_means_an_error(self) -> None:
        assert parse_event(LEAST | {"error_code": "timeout"}).status == "error"

    def test_a_session_that_is_not_given_is_the_users_for_that_day(self) -> None:
        def session(**changes: str) -> UUID:
            return parse_event(LEAST | changes).session_id

        first, last = "2026-11-21T00:00:00Z", "2026-11-21T23:59:59.999Z"
        assert session(event_time=first) == session(event_time=last)
        assert session(event_time=first) != session(event_time="2026-11-20T23:59:59.999Z")
        assert session(event_time=last) != session(event_time="2026-11-22T00:00:00Z")
        assert session() != session(user_id=str(UUID(int=1)))

    def test_an_id_that_is_not_given_follows_from_all_the_other_values(self) -> None:
        without = {name: value for name, value in FULL.items() if name != "event_id"}
        assert parse_event(without).event_id == parse_event(dict(reversed(without.items()))).event_id
        changed = [
            without | change
            for change in (
                {"user_id": str(UUID(int=1))},
                {"session_id": str(UUID(int=1))},
                {"event_type": "view"},
                {"status": "success"},
                {"event_time": AT_MS + 1},
                {"product_id": "P2"},
                {"amount": 1300},
                {"error_code": "other"},
                {"device": "desktop"},
                {"country": "US"},
            )
        ]
        assert len({parse_event(row).event_id for row in [without, *changed]}) == 11

    @pytest.mark.parametrize(
        "same",
        [
            AT,
            "2026-11-21 10:31:05.250",
            "2026-11-21 10:31:05.25 UTC",
            "2026-11-21 02:31:05.250 -0800",
            "2026-11-21 11:31:05.25+01",
            str(AT_MS / 1000 * 1000),
            f"{AT_MS:.12E}",
            float(AT_MS),
            Decimal(AT_MS),
            AT.encode(),
            "2026-11-21T11:31:05.250+01:00",
            str(AT_MS),
            AT_MS,
            datetime(2026, 11, 21, 10, 31, 5, 250_000, tzinfo=UTC),
            datetime(2026, 11, 21, 10, 31, 5, 250_999),  # noqa: DTZ001  no zone means UTC
        ],
    )
    def test_the_same_instant_in_every_accepted_form(self, same: object) -> None:
        assert parse_event(LEAST | {"event_time": same}).event_time == AT_MS

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"user_id": None}, "user_id is missing"),
            ({"event_type": ""}, "event_type is missing"),
            ({"user_id": "customer-17"}, "user_id is 'customer-17', not a UUID"),
            ({"user_id": 17}, "user_id is 17, not a UUID"),
            ({"event_id": "x" * 500}, "..., not a UUID"),
            ({"event_type": "buy"}, "event_type is 'buy', not one of view, click"),
            ({"event_type": ["view"]}, "not one of view"),
            ({"status": "ok"}, "status is 'ok', not one of success, error"),
            ({"event_time": "yesterday"}, "event_time is 'yesterday', not an ISO 8601 time"),
            ({"event_time": True}, "event_time is True, not an ISO 8601 time"),
            ({"event_time": 1.5}, "event_time is 1.5, not"),
            ({"event_time": AT_MS // 1000}, "not milliseconds since the epoch"),
            ({"event_time": str(AT_MS // 1000)}, "not milliseconds since the epoch"),
            ({"event_time": AT_MS * 1000}, "not milliseconds since the epoch"),
            ({"event_time": "1969-12-31T23:59:59Z"}, "not milliseconds since the epoch, from 1973"),
            ({"amount": "12.99"}, "amount is '12.99', not a whole number of minor units"),
            ({"amount": 12.99}, "not a whole number of minor units"),
            ({"amount": float("nan")}, "which often means that there is no value"),
            ({"amount": "1e999"}, "not a whole number of minor units"),
            ({"error_code": "NULL"}, "which often means that there is no value. Does it? Say --null 'NULL', or --text"),
            ({"error_code": "\\N"}, "which often means that there is no value"),
            ({"country": "NA"}, "which often means that there is no value"),
            ({"error_code": " "}, "which often means that there is no value"),
            ({"device": b"\xff"}, "device is b'\\xff', not text in UTF-8"),
            ({"amount": True}, "not a whole number of minor units"),
            ({"amount": 2**63}, "not a whole number of minor units (cents), of at most 64 bits"),
            ({"amount": -(2**63) - 1}, "of at most 64 bits"),
            ({"amount": "9" * 19}, "of at most 64 bits"),
            ({"product_id": 17}, "product_id is 17, not text"),
            ({"device": "\ud800"}, "not text in UTF-8"),
        ],
    )
    def test_a_row_that_does_not_fit_says_which_field_and_why(self, change: dict[str, Any], reason: str) -> None:
        with pytest.raises(RowError) as raised:
            parse_event(LEAST | change)
        assert reason in str(raised.value)

    @pytest.mark.parametrize(
        "amount", [2**63 - 1, -(2**63), "1299", "-5", 0, 1299.0, "1299.0", " 1299. ", "1.299E3", Decimal("1299.00")]
    )
    def test_whole_amounts_of_64_bits_fit(self, amount: object) -> None:
        assert parse_event(LEAST | {"amount": amount}).amount == int(Decimal(str(amount).strip()))


class TestJsonl:
    def test_bad_lines_are_rejected_by_number_and_the_rest_is_read(self, tmp_path: Path) -> None:
        file = jsonl(
            tmp_path, LEAST, b"\n", b"{broken\n", [1], LEAST | {"event_type": "buy"}, b'{"device": "\xff"}\n', FULL
        )
        assert events(file) == [parse_event(LEAST), parse_event(FULL)]
        found = rejects(file)
        assert [reject.line for reject in found] == [3, 4, 5, 6]
        assert [reject.reason.split(":")[0] for reject in found] == [
            "not JSON in UTF-8",
            "not a JSON object; of an array, write one object a line (jq -c '.[]')",
            "event_type is 'buy', not one of view, click, add_to_cart, checkout, purchase, search",
            "not JSON in UTF-8",
        ]
        assert [reject.raw for reject in found] == [
            "{broken",
            "[1]",
            json.dumps(LEAST | {"event_type": "buy"}),
            '{"device": "\\xff"}',
        ]

    def test_a_last_line_without_a_break_a_byte_order_mark_and_windows_breaks(self, tmp_path: Path) -> None:
        line = json.dumps(LEAST).encode()
        assert events(jsonl(tmp_path, b"\xef\xbb\xbf" + line + b"\r\n" + line)) == [parse_event(LEAST)] * 2

    def test_nesting_without_end_is_one_bad_line(self, tmp_path: Path) -> None:
        file = jsonl(tmp_path, b"[" * 500_000 + b"\n", LEAST)
        assert [reject.line for reject in rejects(file)] == [1]
        assert len(events(file)) == 1

    @pytest.mark.parametrize(("length", "fits"), [(2**20 - 1, True), (2**20, True), (2**20 + 1, False)])
    def test_a_line_longer_than_a_mebibyte_is_one_bad_line(self, tmp_path: Path, length: int, fits: bool) -> None:
        line = json.dumps(LEAST).encode()
        file = jsonl(tmp_path, line + b" " * (length - len(line) - 1) + b"\n", LEAST)
        found = list(read_events(file))
        assert len(found) == 2
        assert isinstance(found[0], UserEvent) == fits
        assert isinstance(found[1], UserEvent)

    def test_a_huge_line_takes_no_memory(self, tmp_path: Path) -> None:
        file = jsonl(tmp_path, b"x" * 50_000_000 + b"\n", LEAST)
        tracemalloc.start()
        found = list(read_events(file))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [type(line) for line in found] == [Reject, UserEvent]
        assert peak < 10_000_000


class TestCsv:
    HEADER = "event_time,user_id,event_type,amount,device\n"

    def test_rows_are_read_by_their_header(self, tmp_path: Path) -> None:
        file = csv(tmp_path, self.HEADER + f"{AT},{USER},purchase,1299,mobile\n\n{AT_MS},{USER},view,,\n")
        assert events(file) == [
            parse_event(LEAST | {"event_type": "purchase", "amount": 1299, "device": "mobile"}),
            parse_event(LEAST),
        ]

    def test_bad_rows_are_rejected_by_the_line_they_begin_on(self, tmp_path: Path) -> None:
        good = f'{AT},{USER},view,,"a ""quoted"" one\nin two lines"\n'
        file = csv(
            tmp_path,
            (self.HEADER + good + f"{AT},{USER},view\n" + f"{AT},{USER},view,12.5,x\n").encode()
            + f"{AT},{USER},view,,\xff\n".encode("latin-1")
            + (f'{AT},{USER},view,,"x" y\n' + good).encode(),
        )
        assert [event.device for event in events(file)] == ['a "quoted" one\nin two lines'] * 2
        found = rejects(file)
        assert [reject.line for reject in found] == [4, 5, 6, 7]
        assert [reject.reason.split(":")[0] for reject in found] == [
            "3 cells for 5 columns",
            "amount is '12.5', not a whole number of minor units (cents), of at most 64 bits",
            "device is '\\udcff', not text in UTF-8",
            "not CSV",
        ]
        assert found[0].raw == f"{AT},{USER},view"

    def test_a_quote_that_never_ends_does_not_take_the_whole_file_into_memory(self, tmp_path: Path) -> None:
        row = f"{AT},{USER},view,,mobile\n"
        file = csv(tmp_path, self.HEADER + row + f'{AT},{USER},view,,"mobile\n' + row * 200_000)
        tracemalloc.start()
        rows, rejected = 0, []
        for piece in read_pieces([file], LAYOUT):
            if isinstance(piece, Piece):
                rows += len(piece.lines)
            else:
                rejected.append(piece)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [(reject.line, "not CSV" in reject.reason) for reject in rejected] == [(3, True)]
        assert rejected[0].raw == f'{AT},{USER},view,,"mobile'
        assert rows == 200_001, "it took other lines with it"
        assert peak < 6_000_000 < file.stat().st_size / 2

    @pytest.mark.parametrize(
        "odd", [f"{AT},{USER},view,,a\rb", f"{AT},{USER},view,,{'x' * 140_000}"], ids=["break", "long"]
    )
    def test_a_line_that_csv_refuses_is_one_bad_line(self, tmp_path: Path, odd: str) -> None:
        row = f"{AT},{USER},view,,mobile\n"
        file = csv(tmp_path, self.HEADER + row + odd + "\n" + row)
        assert [(reject.line, reject.reason[:7]) for reject in rejects(file)] == [(3, "not CSV")]
        assert len(events(file)) == 2

    def test_a_quoted_cell_that_never_ends_and_spans_no_rows_is_one_bad_line_each(self, tmp_path: Path) -> None:
        file = csv(tmp_path, self.HEADER + f'{AT},{USER},view,,"mobile\n' + "nothing\n" * 300)
        found = rejects(file)
        assert [reject.line for reject in found] == list(range(2, 303))
        assert "does not end" in found[0].reason
        assert found[1].reason == "1 cells for 5 columns"

    @pytest.mark.parametrize("delimiter", [";", "\t", "|"])
    @pytest.mark.parametrize("first", ["", "sep={}\n", "\ufeff"])
    def test_other_delimiters_are_told_by_the_first_line(self, tmp_path: Path, delimiter: str, first: str) -> None:
        lines = (self.HEADER + f'{AT},{USER},view,1299.0,"a{delimiter}b"\n').replace(",", delimiter)
        [(_, line, event)] = numbered(csv(tmp_path, first.format(delimiter) + lines))
        assert (line, event) == (
            3 if first.startswith("sep") else 2,
            parse_event(LEAST | {"amount": 1299, "device": f"a{delimiter}b"}),
        )

    def test_a_column_without_a_name_is_named_by_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(InputFileError, match=r"not fields of an event: column 1 \(it has no name\)"):
            rejects(csv(tmp_path, "," + self.HEADER))

    @pytest.mark.parametrize(
        ("header", "problem"),
        [
            ("event_time,user_id\n", "no column event_type"),
            ("", "has no column user_id, event_type, event_time; it has none"),
            ("event_time,user_id,event_type,price\n", "not fields of an event: price"),
            ("event_time,user_id,event_type,event_time\n", "names a column twice"),
        ],
    )
    def test_a_wrong_header_is_an_error_of_the_file(self, tmp_path: Path, header: str, problem: str) -> None:
        with pytest.raises(InputFileError, match=problem):
            list(read_events(csv(tmp_path, header)))


class TestParquet:
    def test_rows_of_any_fitting_type_are_read(self, tmp_path: Path) -> None:
        at = datetime(2026, 11, 21, 10, 31, 5, 250_000, tzinfo=UTC)
        file = parquet(
            tmp_path,
            {
                "user_id": [USER, USER],
                "event_type": pa.array(["purchase", "view"]).dictionary_encode(),
                "event_time": pa.array([at, at], pa.timestamp("ns", "UTC")),
                "amount": pa.array([1299.0, None], pa.float64()),
            },
        )
        assert events(file) == [parse_event(LEAST | {"event_type": "purchase", "amount": 1299}), parse_event(LEAST)]

    def test_bad_rows_are_rejected_by_number_and_shown_as_json(self, tmp_path: Path) -> None:
        file = parquet(tmp_path, {"user_id": [USER, "x"], "event_type": ["view", "view"], "event_time": [AT_MS, AT_MS]})
        [reject] = rejects(file)
        assert (reject.line, reject.reason) == (2, "user_id is 'x', not a UUID")
        assert json.loads(reject.raw) == {"user_id": "x", "event_type": "view", "event_time": AT_MS}
        assert len(events(file)) == 1

    def test_a_file_that_is_no_parquet_and_one_that_is_cut_off_are_errors(self, tmp_path: Path) -> None:
        file = parquet(tmp_path, {"user_id": [USER], "event_type": ["view"], "event_time": [AT]})
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(InputFileError, match="cannot be read: Parquet"):
            list(read_events(file))

    def test_a_value_that_python_has_no_type_for_is_one_bad_row(self, tmp_path: Path) -> None:
        """Of the year 9999, of a zone that nobody knows, and of bytes that are no text."""
        good = 1_795_861_865_250_000
        bytes_ = pa.array([b"mobile", b"\xff", b"desktop"], pa.binary())
        file = parquet(
            tmp_path,
            {
                "user_id": [USER] * 3,
                "event_type": ["view"] * 3,
                "event_time": pa.array([good, good, 253_402_300_799_999_999], pa.timestamp("us", "Mars/Olympus")),
                "device": bytes_.view(pa.string()),
            },
        )
        assert [(event.event_time, event.device) for event in events(file)] == [(good // 1000, "mobile")]
        assert [(reject.line, reject.reason) for reject in rejects(file)] == [
            (2, "device is b'\\xff', not text in UTF-8"),
            (3, "event_time is 253402300799999, not milliseconds since the epoch, from 1973 to 9999"),
        ]

    @pytest.mark.parametrize(
        ("values", "text"),
        [
            (pa.array([20_780], pa.date32()), "2026-11-23"),
            (pa.array([20_780 * 86_400_000], pa.date64()), "2026-11-23"),
            (pa.array([1_795_392_000], pa.timestamp("s")), "2026-11-23"),
            (pa.array([b"2026-11-23T00:00Z"]), "2026-11-23"),
            (pa.array([Decimal(1_795_392_000_000)], pa.decimal128(20, 0)), "2026-11-23"),
            (pa.array([1_795_392_000_000.0]), "2026-11-23"),
        ],
    )
    def test_a_time_is_the_same_whatever_its_type(self, tmp_path: Path, values: pa.Array, text: str) -> None:
        file = parquet(tmp_path, {"user_id": [UUID(USER).bytes], "event_type": [b"view"], "event_time": values})
        assert events(file) == [parse_event(LEAST | {"event_time": text})]

    def test_wrong_columns_are_an_error_of_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputFileError, match="no column event_time"):
            list(read_events(parquet(tmp_path, {"user_id": [USER], "event_type": ["view"]})))


def test_an_event_is_the_same_whichever_file_it_comes_from(tmp_path: Path) -> None:
    row = {"user_id": USER, "event_type": "purchase", "event_time": AT_MS, "amount": 5, "country": "DE"}
    files = (
        jsonl(tmp_path, row),
        csv(tmp_path, ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"),
        parquet(tmp_path, {name: [value] for name, value in row.items()}),
    )
    assert len({event for file in files for event in events(file)}) == 1


def test_a_missing_file_and_an_unknown_type_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="there is no such file"):
        list(read_events(tmp_path / "gone.csv"))
    other = tmp_path / "events.txt"
    other.touch()
    with pytest.raises(InputFileError, match=r"has to end in .jsonl, .ndjson, .json, .csv, .tsv, .parquet"):
        list(read_events(other))


class TestFiles:
    def test_a_folder_of_parts_is_read_in_order_with_what_its_folders_say(self, tmp_path: Path) -> None:
        for country, device in (("DE", "first"), ("FR", "second"), ("__HIVE_DEFAULT_PARTITION__", "third")):
            part = tmp_path / f"country={country}" / "part-0.json"
            part.parent.mkdir()
            part.write_text(json.dumps(LEAST | {"device": device}))
        for beside in ("_SUCCESS", ".part-0.json.crc", "x.rejects.jsonl", "_delta_log/0.json"):
            (tmp_path / beside).parent.mkdir(exist_ok=True)
            (tmp_path / beside).write_text("not read")
        assert [(event.device, event.country) for event in events(tmp_path)] == [
            ("first", "DE"),
            ("second", "FR"),
            ("third", "unknown"),
        ]

    def test_a_pattern_and_several_files_are_read_once_each(self, tmp_path: Path) -> None:
        for number in (2, 1):
            (tmp_path / f"{number}.jsonl").write_text(json.dumps(LEAST | {"device": str(number)}))
        assert [event.device for event in events(tmp_path / "[0-9].jsonl", tmp_path / "1.jsonl")] == ["1", "2"]
        with pytest.raises(InputFileError, match="there is no such file"):
            events(tmp_path / "[a-z].jsonl")

    @pytest.mark.parametrize("name", ["events.jsonl.gz", "events.jsonl.zst", "events.jsonl"])
    @pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
    def test_compression_is_told_by_the_bytes_and_may_come_in_pieces(
        self, tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
    ) -> None:
        lines = [json.dumps(LEAST | {"device": str(number)}).encode() + b"\n" for number in range(3)]
        file = tmp_path / name
        file.write_bytes(compress(lines[0] + lines[1]) + compress(lines[2]))
        assert [event.device for event in events(file)] == ["0", "1", "2"]

    def test_parquet_that_is_compressed_as_a_whole_is_read(self, tmp_path: Path) -> None:
        file = parquet(tmp_path, {name: [value] for name, value in LEAST.items()})
        file.with_suffix(".parquet.gz").write_bytes(gzip.compress(file.read_bytes()))
        assert events(file.with_suffix(".parquet.gz")) == [parse_event(LEAST)]

    def test_a_file_that_is_cut_off_is_an_error_after_what_it_holds(self, tmp_path: Path) -> None:
        lines = b"".join(json.dumps(LEAST | {"product_id": str(n)}).encode() + b"\n" for n in range(20_000))
        file = tmp_path / "events.jsonl.gz"
        file.write_bytes(gzip.compress(lines)[:-50_000])
        found = read_events(file)
        assert isinstance(next(found), UserEvent)
        with pytest.raises(InputFileError, match=r"events.jsonl.gz cannot be read"):
            list(found)

    @pytest.mark.parametrize("kind", [jsonl, csv])
    def test_a_pipe_is_read_by_what_it_holds_and_a_stop_ends_the_wait_for_more(
        self, tmp_path: Path, kind: Callable[..., Path]
    ) -> None:
        text = ",".join(LEAST) + "\n" + ",".join(LEAST.values()) + "\n"
        content = (jsonl(tmp_path, LEAST) if kind is jsonl else csv(tmp_path, text)).read_bytes()
        read, write = os.pipe()
        with os.fdopen(read, "rb"), os.fdopen(write, "wb", buffering=0) as pipe:
            pipe.write(content)
            with pytest.raises(StoppedError):
                list(read_pieces([Path(f"/dev/fd/{read}")], LAYOUT, stopping=lambda: True))
            pipe.write(content)
            pipe.close()
            [piece] = read_pieces([Path(f"/dev/fd/{read}")], LAYOUT)
            assert isinstance(piece, Piece)
            assert list(plain_values(piece.columns["user_id"])) == [USER]

    def test_utf_16_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(InputFileError, match="is UTF-16; save it as UTF-8"):
            events(csv(tmp_path, "user_id".encode("utf-16")))


class TestNotGiven:
    @pytest.mark.parametrize("word", ["NULL", "null", "\\N", "nan", "NaN", "None", "NA", "<NA>", " "])
    def test_a_word_that_may_mean_nothing_is_never_counted_as_an_error_code(self, word: str) -> None:
        with pytest.raises(RowError, match=r"error_code is .* means that there is no value"):
            parse_event(LEAST | {"error_code": word})

    def test_it_means_what_was_said(self) -> None:
        said = Values(nulls=["null"], texts=["NA"])
        event = parse_event(LEAST | {"error_code": "NULL", "country": "NA"}, said)
        assert (event.status, event.error_code, event.country) == ("success", None, "NA")
        nobody = str(UUID(int=0))
        with pytest.raises(RowError, match="user_id is missing"):
            parse_event(LEAST | {"user_id": nobody}, Values(nulls=[nobody]))

    def test_a_number_that_is_none_is_what_was_said(self) -> None:
        assert parse_event(LEAST | {"amount": float("nan")}, Values(nulls=["nan"])).amount is None


def test_equal_values_of_other_kinds_are_told_apart() -> None:
    columns: dict[str, Column] = {name: [value] * 4 for name, value in LEAST.items()}
    columns["amount"] = [1, True, 1.0, "1"]
    made = converted(converter(), columns, 4)
    assert [isinstance(row, RowError) for row in made] == [False, True, False, False]


def test_a_record_that_the_topic_does_not_take_is_a_bad_row() -> None:
    columns: dict[str, Column] = {name: [value] * 2 for name, value in LEAST.items()}
    columns["product_id"] = ["P1", "P1000"]
    records, _ = converter().convert(columns, 2)
    size = len(records.keys[1] or b"") + len(records.values[1]) + 128
    assert RowConverter(Values(), HEADER, size).convert(columns, 2).errors == {}
    made = RowConverter(Values(), HEADER, size - 1).convert(columns, 2)
    assert (list(made.records.values), list(made.errors)) == ([records.values[0]], [1])
    assert str(made.errors[1]).endswith(f"that the topic takes: {size - 128}")


def test_records_are_parted_in_order() -> None:
    records, _ = converter().convert({name: [value] * 5 for name, value in LEAST.items()} | {"amount": [*range(5)]}, 5)
    parts = list(records.parts(2))
    assert [len(part.times) for part in parts] == [len(part.keys) for part in parts] == [2, 2, 1]
    assert [value for part in parts for value in part.values] == records.values


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
ROWS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from([USER, USER.upper(), str(UUID(int=1))]),
        "event_type": st.sampled_from(EVENT_TYPES),
        "event_time": st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001  UTC
        "event_id": st.none() | st.uuids().map(str),
        "session_id": st.none() | st.uuids().map(str),
        "product_id": st.none() | TEXT,
        "amount": st.none() | st.integers(-(2**50), 2**50),
        "error_code": st.none() | TEXT,
        "device": st.none() | TEXT,
    }
)


def test_a_row_is_the_same_record_and_the_same_reject_in_every_version(tmp_path: Path) -> None:
    """Ids follow from the values: another version that made others would count a file that is sent again twice."""
    random = Random(1)

    def some_id() -> str:
        return str(UUID(int=random.getrandbits(128)))

    users = [some_id(), some_id().upper(), "no user"]
    rows = [
        {
            "event_id": random.choice([None, some_id()]),
            "user_id": random.choices(users, [9, 9, 1])[0],
            "session_id": random.choice([None, some_id()]),
            "event_type": random.choice(EVENT_TYPES),
            "status": random.choice([None, "success", "error"]),
            "event_time": random.choice(
                [
                    f"2026-11-21T10:31:{number % 60:02}.{number:03}Z",
                    f"1972-11-21 10:{number % 60}:00",
                    str(AT_MS + number),
                ]
            ),
            "product_id": random.choice([None, 'a "b", c', "Füße"]),
            "amount": random.choice([None, "1299", "12.50", "-1.3E3"]),
            "error_code": random.choice([None, "timeout"]),
            "device": random.choice([None, "mobile"]),
            "country": random.choice([None, "DE"]),
        }
        for number in range(500)
    ]
    files = (
        jsonl(tmp_path, *rows),
        csv(tmp_path, "", rows=[rows[0], *(row.values() for row in rows)]),
        parquet(tmp_path, {name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]}),
    )
    for file in files:
        digest = blake2b(digest_size=8)
        convert = partial(converted, converter())
        for piece in read_pieces([file], LAYOUT):
            assert isinstance(piece, Piece)
            for made in convert(piece.columns, len(piece.lines)):
                digest.update((made.key or b"") + made.value if isinstance(made, Row) else str(made).encode())
        assert digest.hexdigest() == "78e5cf3a8852cced"


@settings(max_examples=60)
@given(st.lists(ROWS, min_size=1, max_size=6))
def test_the_same_frame_gives_the_same_events_whichever_file_it_comes_from(rows: list[dict[str, Any]]) -> None:
    """The times as each writer spells them; the amounts as whole numbers, and as pandas' floats."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        table = {name: [row[name] for row in rows] for name in ROWS_FIELDS}
        times = pa.array(table["event_time"], pa.timestamp("us"))
        amounts = pa.array([None if amount is None else float(amount) for amount in table["amount"]], pa.float64())
        texts = {
            name: pa.array(table[name], pa.string()) for name in ROWS_FIELDS if name not in ("event_time", "amount")
        }
        files = [
            parquet(path, texts | {"event_time": times, "amount": amounts}),
            jsonl(path, *({**row, "event_time": row["event_time"].isoformat() + "Z"} for row in rows)),
            csv(path, "", rows=[ROWS_FIELDS, *([_cell(row[name]) for name in ROWS_FIELDS] for row in rows)]),
        ]
        found = [
            [str(each.reason) if isinstance(each, Reject) else each for each in read_events(file)] for file in files
        ]
    assert found[0] == found[1] == found[2]
    for each, row in zip(found[0], rows, strict=True):
        if isinstance(each, UserEvent):
            assert each == _one_by_one(row)


ROWS_FIELDS = (*LEAST, *("event_id", "session_id", "product_id", "amount", "error_code", "device"))


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f} UTC"
    return f"{float(value):.1f}" if isinstance(value, int) else value


def _one_by_one(row: dict[str, Any]) -> UserEvent:
    """The event that a row is, by the definition of its ids."""
    given = {name: value for name, value in row.items() if value is not None}
    user = UUID(given["user_id"])
    at = given["event_time"].replace(tzinfo=UTC)
    time = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    session = uuid5(uuid5(NAMESPACE_URL, "etar/input/sessions"), f"{user}/{time // 86_400_000}")
    event = UserEvent(
        event_id=UUID(int=0),
        user_id=user,
        session_id=UUID(given["session_id"]) if "session_id" in given else session,
        event_type=given["event_type"],
        status="error" if "error_code" in given else "success",
        event_time=time,
        product_id=given.get("product_id"),
        amount=given.get("amount"),
        error_code=given.get("error_code"),
        device=given.get("device", "unknown"),
        country="unknown",
    )
    content = json.dumps([str(value) if isinstance(value, UUID) else value for value in event[1:]])
    event_id = uuid5(uuid5(NAMESPACE_URL, "etar/input/events"), content)
    return event._replace(event_id=UUID(given["event_id"]) if "event_id" in given else event_id)


def test_how_much_is_read_is_told_of_files_and_of_no_pipe(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(jsonl(tmp_path / name, LEAST, LEAST))
    sizes = [file.stat().st_size for file in files]
    told: list[int] = []
    for _ in read_pieces(files, LAYOUT, told=told.append):
        pass
    assert told == sorted(told)
    assert {sizes[0], sum(sizes)} <= set(told)
    assert told[-1] == sum(sizes)
    read, written = os.pipe()
    os.write(written, json.dumps(LEAST).encode())
    os.close(written)
    try:
        assert len(list(read_pieces([Path(f"/dev/fd/{read}")], LAYOUT, told=told.append))) == 1
    finally:
        os.close(read)
    assert told[-1] == sum(sizes)
