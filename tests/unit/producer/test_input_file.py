"""A user's own events: what is read, what is refused and why."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.input_file import InputFileError, Reject, RowError, parse_event, read_events
from producer.user_event import UserEvent

USER = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
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


def csv(path: Path, text: str | bytes) -> Path:
    file = path / "events.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    file = path / "events.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def rejects(path: Path) -> list[Reject]:
    return [line for line in read_events(path) if isinstance(line, Reject)]


def events(path: Path) -> list[UserEvent]:
    return [line for line in read_events(path) if isinstance(line, UserEvent)]


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
            ({"amount": float("nan")}, "not a whole number of minor units"),
            ({"amount": True}, "not a whole number of minor units"),
            ({"amount": 2**63}, "not a whole number of minor units (cents), of at most 64 bits"),
            ({"amount": -(2**63) - 1}, "of at most 64 bits"),
            ({"amount": "9" * 19}, "of at most 64 bits"),
            ({"product_id": 17}, "product_id is 17, not text"),
            ({"device": "\ud800"}, "not text that UTF-8 can hold"),
            ({"ammount": 1}, "'ammount' is not a field of an event"),
        ],
    )
    def test_a_row_that_does_not_fit_says_which_field_and_why(self, change: dict[str, Any], reason: str) -> None:
        with pytest.raises(RowError) as raised:
            parse_event(LEAST | change)
        assert reason in str(raised.value)

    @pytest.mark.parametrize("amount", [2**63 - 1, -(2**63), "1299", "-5", 0, 1299.0])
    def test_whole_amounts_of_64_bits_fit(self, amount: object) -> None:
        assert parse_event(LEAST | {"amount": amount}).amount == int(amount)  # type: ignore[call-overload]


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
            "not a JSON object",
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
            "not UTF-8",
            "not CSV",
        ]
        assert found[0].raw == f"{AT},{USER},view"

    def test_a_quote_that_never_ends_does_not_take_the_whole_file_into_memory(self, tmp_path: Path) -> None:
        row = f"{AT},{USER},view,,mobile\n"
        file = csv(tmp_path, self.HEADER + row + f'{AT},{USER},view,,"mobile\n' + row * 5_000)
        tracemalloc.start()
        found = list(read_events(file))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rejected = [line for line in found if isinstance(line, Reject)]
        assert [(reject.line, "not CSV" in reject.reason) for reject in rejected] == [(3, True)]
        assert len(found) > 1_000, "the reader did not recover"
        assert peak < 5_000_000

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
        with pytest.raises(InputFileError, match="cannot be read as Parquet"):
            list(read_events(file))

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
    with pytest.raises(InputFileError, match=r"has to end in .jsonl, .ndjson, .csv, .parquet"):
        list(read_events(other))
