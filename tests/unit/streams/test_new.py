"""A folder written from a sample passes its check at once, whatever the sample; or nothing is written, and it is said
why."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etar.settings import StreamSettings
from etar.stream_folder.check import check
from etar.stream_folder.guesses import GuessError
from etar.stream_folder.proposal import Proposal
from etar.stream_folder.propose import Wishes, propose
from etar.stream_folder.sample import Sample, SampleError, read_sample
from etar.stream_folder.scaffold import NotWrittenError, write_folder
from etar.streams import RecordFormat, catalogue

AT = "2026-11-21T10:31:05.250Z"
UUIDS = [f"{number:08x}-0000-4000-8000-00000000abcd" for number in range(100)]
FORMATS = [RecordFormat.JSON, RecordFormat.AVRO]


def offered(_question: str, *, offered: str, others: Sequence[str]) -> str:
    assert offered not in others
    return offered


def written(folder: Path, sample: Sample, wishes: Wishes = Wishes(), name: str = "mine") -> Proposal:  # noqa: B008
    """Writes the folder, and checks it as it stands there."""
    proposal = propose(name, sample, wishes, offered)
    where = StreamSettings(streams_folders=str(folder))
    write_folder(proposal, where)
    errors = [str(fault) for fault in check(catalogue(where)) if not fault.is_warning]
    assert errors == []
    assert [each.name for each in folder.iterdir()] == [name], "nothing is left of the draft"
    return proposal


def types(proposal: Proposal) -> dict[str, str]:
    return {column.name: column.declared for column in proposal.columns}


ODD: dict[str, list[dict[str, Any]]] = {
    "one record": [{"id": "a", "at": AT}],
    "nothing but a time": [{"at": AT}],
    "reserved names": [
        {"id": 1, "at": AT, "_topic": "x", "_offset": 7, "event_minute": AT, "_row_exists": 1, "_part": 1}
    ],
    "reserved names in capitals": [{"id": 1, "at": AT, "_TOPIC": "x", "Event_Minute": 3}],
    "names with dots": [{"id": 1, "at": AT, "a.b": 3, "a": {"b": "text", "c": {"d.e": 1, "d": {"e": 2}}}}],
    "names with spaces": [{"id": 1, "at": AT, "pick up": 3, " ": 1, "": 2}],
    "names in capitals": [{"ID": 1, "At": AT, "Amount": 3, "amount": 4, "aMOUNT": 5}],
    "names of other scripts": [{"id": 1, "at": AT, "größe": 3, "名前": "x", "naïve": {"é": 1}}],
    "names with quotes": [
        {"id": 1, "at": AT, "a`b": 3, "c'd": 4, 'e"f': 5, "g\\h": 6, "i\nj": 7, "); DROP TABLE x --": 8}
    ],
    "names of SQL": [
        {
            "id": 1,
            "at": AT,
            "select": 1,
            "from": "x",
            "order": 2,
            "table": True,
            "timestamp": AT,
            "date": "2026-01-01",
            "null": 2,
            "default": 1,
            "true": 1,
        }
    ],
    "a long name": [{"id": 1, "at": AT, "x" * 120: 1, "y" * 200: 2}],
    "a name with a digit first": [{"id": 1, "at": AT, "1st": 1}],
    "nothing but null in a field": [{"id": n, "at": AT, "none": None} for n in range(3)],
    "mixed types": [{"id": 1, "at": AT, "v": 1}, {"id": 2, "at": AT, "v": "x"}, {"id": 3, "at": AT, "v": None}],
    "a record and a text": [{"id": 1, "at": AT, "v": {"a": 1}}, {"id": 2, "at": AT, "v": "x"}],
    "a record and null": [{"id": 1, "at": AT, "v": {"a": 1}}, {"id": 2, "at": AT, "v": None}, {"id": 3, "at": AT}],
    "an empty record": [{"id": 1, "at": AT, "v": {}}, {"id": 2, "at": AT, "v": {"w": {}}}],
    "a map": [{"id": 1, "at": AT, "v": {f"k{n}": n for n in range(500)}}],
    "huge numbers": [
        {
            "id": 1,
            "at": AT,
            "a": 2**63 - 1,
            "b": 2**63,
            "c": 2**64,
            "d": 10**37,
            "e": 10**75,
            "f": 10**200,
            "g": -(2**63) - 1,
        }
    ],
    "small numbers": [{"id": 1, "at": AT, "a": Decimal("1e-300"), "b": Decimal("0.00000001"), "c": Decimal("-0.0")}],
    "large fractions": [
        {"id": 1, "at": AT, "a": Decimal("123456789012345678.12"), "b": Decimal("1" * 60 + ".5"), "c": Decimal("1e300")}
    ],
    "a number with a sign of text": [
        {"id": 1, "at": AT, "a": "12.50", "b": "+1.50", "c": "1,50", "d": "01.50", "e": "12."}
    ],
    "lists": [
        {
            "id": 1,
            "at": AT,
            "a": [1, 2],
            "b": [],
            "c": [[1], [2]],
            "d": ["x", None],
            "e": [1, "x"],
            "f": [{"a": 1}],
            "g": ["1.50"],
            "h": [AT],
            "i": [1.5, 2],
            "j": [None],
            "k": [True],
            "l": [UUIDS[0]],
        }
    ],
    "lists in a record": [{"id": 1, "at": AT, "v": {"a": [1], "b": [1, 2], "c": 1}}],
    "a list that is not always there": [
        {"id": 1, "at": AT, "a": ["x"]},
        {"id": 2, "at": AT},
        {"id": 3, "at": AT, "a": None},
    ],
    "ids that repeat": [{"event_id": f"e{n % 19}", "at": AT, "v": n} for n in range(20)],
    "ids that are all the same": [{"event_id": "e", "at": AT, "v": n} for n in range(20)],
    "an id that is not always there": [{"id": 1, "at": AT}, {"at": AT}, {"id": None, "at": AT}],
    "an id of text and number": [{"id": 1, "at": AT}, {"id": "x", "at": AT}],
    "a time long ago": [{"id": 1, "at": "1970-01-01T00:00:00Z"}, {"id": 2, "at": "1901-02-03T04:05:06.789Z"}],
    "a time long from now": [{"id": 1, "at": "2199-12-31T23:59:59.999Z"}],
    "a time in microseconds": [{"id": 1, "at": "2026-11-21T10:31:05.250125Z"}],
    "a time in nanoseconds": [{"id": 1, "at": "2026-11-21T10:31:05.250125999+01:00"}],
    "a time with an offset": [{"id": 1, "at": "2026-11-21 10:31:05-0800"}, {"id": 2, "at": "2026-11-21t10:31Z"}],
    "unix seconds": [{"id": 1, "ts": 1_795_000_000}, {"id": 2, "ts": Decimal("1795000001.25")}],
    "unix milliseconds": [{"id": 1, "ts": 1_795_000_000_250}, {"id": 2, "ts": 1_795_000_000_251}],
    "unix milliseconds with a fraction": [{"id": 1, "ts": Decimal("1795000000250.125")}],
    "a time that is not always there": [{"id": n, "at": AT if n else None} for n in range(20)],
    "texts of all kinds": [
        {"id": 1, "at": AT, "a": "", "b": "\0", "c": "\u2028\u0085\x0b", "d": "😀", "e": "\n\r\t", "f": "x" * 100_000}
    ],
    "half a character": [{"id": 1, "at": AT, "a": "x\ud800"}],
    "dates": [{"id": 1, "at": AT, "a": "2026-02-29", "b": "1969-12-31", "c": "2026-02-28", "d": "2300-01-01"}],
    "truth": [{"id": 1, "at": AT, "a": True}, {"id": 2, "at": AT}],
    "few values": [{"id": n, "at": AT, "a": "xy"[n % 2], "b": "xy"[n % 2] if n % 3 else None} for n in range(40)],
    "deep": [{"id": 1, "at": AT, "a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}],
    "many fields": [{"id": 1, "at": AT} | {f"f{n}": n for n in range(300)}],
    "columns that figures would name alike": [{"id": 1, "at": AT, "a_b": "x", "a": {"b": "y"}, "A_B": "z"}],
    "fields that the report has": [
        {"id": 1, "at": AT, "rows_read": 5, "total_events": "x", "stream": "y", "minute": "z", "source_object": "o"}
    ],
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ODD)
def test_what_is_written_passes_its_check_at_once(tmp_path: Path, name: str, form: RecordFormat) -> None:
    sample = Sample(tuple(ODD[name]))

    proposal = written(tmp_path / "streams", sample, Wishes(format=form))

    flat = {column.name for column in proposal.columns} | {each.name for each in proposal.left_out}
    nested = {key for record in sample.records for key, value in record.items() if isinstance(value, dict)}
    assert flat >= {key for record in sample.records for key in record} - nested
    assert proposal.column(proposal.time).declared.startswith("DateTime64(")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 300)
    | st.text()
    | st.sampled_from([AT, "12.50", "2026-11-21", *UUIDS[:3]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(max_size=4) | st.sampled_from(["_topic", "event_minute", "a.b", "A", "a", "select", "_part", "b"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=4),
    form=st.sampled_from(FORMATS),
)
def test_what_is_written_of_anything_passes_its_check_at_once(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], form: RecordFormat
) -> None:
    timed = tuple({**record, "happened_at": AT} for record in records)

    written(tmp_path_factory.mktemp("any") / "streams", Sample(timed), Wishes(format=form))


@pytest.mark.parametrize(
    ("records", "wishes", "said"),
    [
        ([{"id": 1}], Wishes(), "no field of the sample says when an event happened"),
        ([{"id": 1, "at": None}], Wishes(), "no field of the sample says when"),
        ([{"id": 1, "at": "2026-11-21T10:31:05"}], Wishes(), "no field of the sample says when"),
        ([{"id": 1, "at": "2026-11-21T10:31:05"}], Wishes(time="at"), "has no offset (Z or +01:00)"),
        ([{"id": 1, "at": "1850-01-01T00:00:00Z"}], Wishes(), "no field of the sample says when"),
        ([{"id": 1, "at": AT}, {"id": 2, "at": "x"}], Wishes(time="at"), "its values are no instants, 'x' for one"),
        (
            [{"id": 1, "at": AT}],
            Wishes(time="when"),
            "--time when: there is no such field in the sample; it has id, at",
        ),
        ([{"id": 1, "at": AT}], Wishes(identity=("key",)), "--id key: there is no such field in the sample"),
        ([{"id": 1, "at": AT}], Wishes(identity=("at",)), "at is both --id and --time"),
        ([{"id": 1.5, "at": AT}], Wishes(identity=("id",)), "--id id: Float64 is no type that tells one event"),
        ([{"id": 1, "at": AT, "a": {"b": 1}}], Wishes(identity=("a.b",)), "--id a.b: it is nested"),
        (
            [{"id": 1, "at": AT, "a b": 1}],
            Wishes(identity=("a b",)),
            "it can have no column, as its name is not made of",
        ),
        ([{"id": 1, "event_minute": AT}], Wishes(time="event_minute"), "etar adds a column of this name to each row"),
        ([{"id": 1, "at": AT}], Wishes(columns={"x": "String"}), "there is no field 'x' in the sample"),
        (
            [{"id": 1, "at": AT}],
            Wishes(columns={"id": "Strin"}),
            "--column id=Strin: Strin is no type that can be filled",
        ),
        (
            [{"id": 1, "at": AT}],
            Wishes(columns={"id": "String"}),
            "no record of the sample becomes a row: missing_or_wrong_field: id",
        ),
        ([{"id": 1, "at": AT}], Wishes(topic="a b"), "topic.name: is 'a b'; it must be like"),
        ([{"id": 1, "at": AT}], Wishes(title="x" * 100), "stream.title: "),
    ],
)
def test_what_no_stream_can_be_made_of_is_told_and_nothing_is_written(
    tmp_path: Path, records: list[dict[str, Any]], wishes: Wishes, said: str
) -> None:
    with pytest.raises((GuessError, NotWrittenError)) as refused:
        written(tmp_path / "streams", Sample(tuple(records)), wishes)

    assert said in str(refused.value)
    assert not any(tmp_path.rglob("*.toml"))
    assert [each.name for each in tmp_path.rglob(".new-*")] == []


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        ([UUIDS[0], UUIDS[1].upper()], "UUID"),
        ([AT, "2026-11-21 10:31:05.123456+02:00"], "DateTime64(6, 'UTC')"),
        ([AT, "2026-11-21T10:31:05Z"], "DateTime64(3, 'UTC')"),
        (["2026-11-21", "2026-11-22"], "Date"),
        (["12.50", "-0.99"], "Decimal(18, 2)"),
        (["12.50", "0.9"], "String"),
        (["12", "13"], "String"),
        (["12345678901234567890.5", "1.5"], "Decimal(38, 1)"),
        ([1, 2], "Int64"),
        ([1, 2**63], "UInt64"),
        ([-1, 2**63], "Decimal(38, 0)"),
        ([2**64], "Decimal(38, 0)"),
        ([Decimal("12.5"), 3], "Decimal(18, 2)"),
        ([Decimal("0.0015"), 3], "Decimal(18, 4)"),
        ([Decimal("52.5200066"), 3], "Float64"),
        ([1.5, 2.5], "Float64"),
        ([True, False], "Bool"),
        ([1, None], "Nullable(Int64)"),
        (["x", None], "Nullable(String)"),
        (["x", "y"] * 20, "LowCardinality(String)"),
        (["x", None] * 20, "LowCardinality(Nullable(String))"),
        ([f"x{n}" for n in range(40)], "String"),
        ([[1], [2, 3]], "Array(Int64)"),
        ([["a"], ["b", None], None], "Array(Nullable(String))"),
        ([["x"]] * 50, "Array(String)"),
        ([None, None], None),
        ([1, "x"], None),
        ([[], []], None),
        ([[[1]]], None),
        ([[{"a": 1}]], None),
        ([10**80], "Float64"),
    ],
)
def test_a_type_is_guessed_that_takes_every_value_exactly(values: list[Any], declared: str | None) -> None:
    records = tuple({"id": number, "at": AT, "v": value} for number, value in enumerate(values))

    proposal = propose("mine", Sample(records), Wishes(), offered)

    assert types(proposal).get("v") == declared
    assert [each.name for each in proposal.left_out] == ([] if declared else ["v"])


def test_a_choice_that_may_be_wanted_otherwise_is_told_and_can_be_made_otherwise(tmp_path: Path) -> None:
    sample = Sample(({"id": 1, "at": AT, "amount": Decimal("12.5"), "note": "x"},))
    told = {column.name: column.why for column in propose("mine", sample, Wishes(), offered).columns if column.why}
    assert told == {"amount": "at most 1 digits after the point: taken for an exact amount"}

    wishes = Wishes(columns={"amount": "Float64", "note": "none"}, identity=("none",), title="My own", time="at")
    proposal = written(tmp_path / "streams", sample, wishes)

    assert types(proposal) == {"id": "Int64", "at": "DateTime64(3, 'UTC')", "amount": "Float64"}
    assert proposal.identity == ()
    assert catalogue(StreamSettings(streams_folders=str(tmp_path / "streams"))).named("mine").title == "My own"


@pytest.mark.parametrize(
    ("records", "id_and_time"),
    [
        (
            [{"n": n, "event_id": UUIDS[n], "user": UUIDS[0], "created_at": AT, "sent": AT} for n in range(3)],
            "event_id created_at",
        ),
        (
            [{"ride": f"r{n}", "fare": n, "picked_up_at": AT, "dropped_off_at": AT} for n in range(3)],
            "ride picked_up_at",
        ),
        (
            [{"id": n, "timestamp": 1_795_000_000 + n, "user_id": 1_795_000_000 + n, "server": "x"} for n in range(3)],
            "id timestamp",
        ),
        ([{"say": f"hello {n}", "at": AT} for n in range(3)], "none at"),
        ([{"sensor": "a", "time": AT, "value": Decimal("1.5")} for _ in range(3)], "none time"),
        ([{"eventId": UUIDS[n], "eventTime": AT, "t": AT} for n in range(3)], "eventId eventTime"),
    ],
)
def test_what_tells_events_apart_and_when_they_were_is_guessed(records: list[dict[str, Any]], id_and_time: str) -> None:
    proposal = propose("mine", Sample(tuple(records)), Wishes(), offered)

    assert f"{','.join(proposal.identity) or 'none'} {proposal.time}" == id_and_time


def test_a_person_is_asked_what_was_not_said() -> None:
    sample = Sample(tuple({"a_id": n, "b": f"x{n}", "at": AT, "sent_at": AT} for n in range(3)))
    asked: list[tuple[str, list[str]]] = []

    def ask(question: str, *, offered: str, others: Sequence[str]) -> str:
        asked.append((offered, list(others)))
        return "sent_at" if offered == "at" else "a_id, b"

    proposal = propose("mine", sample, Wishes(), ask)

    assert asked == [("at", ["sent_at"]), ("a_id", ["b", "none"])]
    assert (proposal.identity, proposal.time) == (("a_id", "b"), "sent_at")


def test_what_is_written_says_what_the_sample_said(tmp_path: Path) -> None:
    records = tuple(
        {"sale": f"s{n}", "at": 1_795_000_000_250 + n, "amount": Decimal("1.5"), "who": {"id": n % 2}, "ok": n > 0}
        for n in range(3)
    )
    written(tmp_path / "streams", Sample(records, topic="shop.sales"))
    own = tmp_path / "streams" / "mine"

    stream = catalogue(StreamSettings(streams_folders=str(tmp_path / "streams"))).named("mine")
    assert (stream.topic, stream.identity, stream.time, stream.time_form.value) == (
        "shop.sales",
        ("sale",),
        "at",
        "unix_ms",
    )
    lines = [json.loads(line) for line in (own / "samples.jsonl").read_text().splitlines()]
    assert lines[1]["row"] == {
        "sale": "s1",
        "at": "2026-11-18T11:06:40.251Z",
        "amount": "1.50",
        "who.id": 1,
        "ok": True,
    }
    assert lines[1]["appended"] == "2026-11-18T11:06:41.251Z"
    assert [line.get("reason") for line in lines[3:]] == [
        "missing_or_wrong_field",
        "missing_or_wrong_field",
        "missing_or_wrong_field",
        "too_late",
        "event_time_out_of_bounds",
        "null_value",
        "not_json",
    ]
    assert json.loads((own / "golden.json").read_text()) == {
        "rows_read": 3,
        "total_events": 3,
        "sum_of_amount": "4.50",
        "distinct_who_id": 2,
        "with_ok": 2,
    }


def test_a_folder_that_is_there_is_never_overwritten_nor_a_name_taken(tmp_path: Path) -> None:
    sample = Sample(({"id": 1, "at": AT},))
    written(tmp_path / "streams", sample)
    before = {file: file.read_bytes() for file in (tmp_path / "streams" / "mine").rglob("*") if file.is_file()}

    for name, said in {
        "mine": "is there already, and is not overwritten",
        "mine_landing": "the table 'mine_landing' belongs to the stream 'mine'",
        "dead_letters": "the table 'dead_letters' belongs to all streams",
        "Mine": "can be no stream's name",
        "x": "can be no stream's name",
        "../up": "can be no stream's name",
    }.items():
        with pytest.raises(NotWrittenError, match=said):
            written(tmp_path / "streams", sample, name=name)

    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert after == before


def test_a_new_folder_goes_into_the_last_of_the_folders_which_is_made_if_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    where = StreamSettings(streams_folders=f"{tmp_path}/first:{tmp_path}/a/last")

    folder = write_folder(propose("mine", Sample(({"id": 1, "at": AT},)), Wishes(), offered), where).folder

    assert folder == tmp_path / "a" / "last" / "mine"


def as_jsonl(file: Path) -> None:
    file.write_bytes(
        b'\xef\xbb\xbf{"id": 1, "at": "%s", "v": 1.50}\n\n{"id": 2, "at": "%s"}\n' % (AT.encode(), AT.encode())
    )


def as_gzip(file: Path) -> None:
    file.write_bytes(gzip.compress(f'{{"id": 1, "at": "{AT}", "v": 1.50}}\n{{"id": 2, "at": "{AT}"}}'.encode()))


def as_list(file: Path) -> None:
    file.write_text(f'[\n{{"id": 1, "at": "{AT}", "v": 1.50}},\n {{"id": 2, "at": "{AT}"}}]')


def as_csv(file: Path) -> None:
    file.write_text(f'id;at;v\r\n1;"{AT}";"1.50"\r\n2;{AT};\r\n')


def as_parquet(file: Path) -> None:
    at = datetime.fromisoformat(AT)
    pq.write_table(pa.table({"id": [1, 2], "at": [at, at], "v": [Decimal("1.50"), None]}), file)


@pytest.mark.parametrize(
    ("name", "write"),
    [("e.jsonl", as_jsonl), ("e.json.gz", as_gzip), ("e.json", as_list), ("e.csv", as_csv), ("e.parquet", as_parquet)],
)
def test_a_sample_is_the_same_in_each_kind_of_file(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)

    sample = read_sample(tmp_path / name)

    without_null = [{key: value for key, value in each.items() if value is not None} for each in sample.records]
    assert without_null == [{"id": 1, "at": AT, "v": Decimal("1.50")}, {"id": 2, "at": AT}]
    assert types(written(tmp_path / "streams", sample)) == {
        "id": "Int64",
        "at": "DateTime64(3, 'UTC')",
        "v": "Nullable(Decimal(18, 2))",
    }


def test_csv_with_quotes_and_times_without_a_zone(tmp_path: Path) -> None:
    file = tmp_path / "taxi.csv"
    file.write_text(
        "VendorID,tpep_pickup_datetime,fare_amount,store_and_fwd_flag,zip,note,code\n"
        '1,2024-01-01 00:57:55,17.70,N,01234,"a, ""b""\nc",\n'
        "2,2024-01-01 00:03:00,-10.00,Y,99999,,\n"
    )

    sample = read_sample(file)
    proposal = written(tmp_path / "streams", sample, Wishes(identity=()))

    assert sample.records[0] == {
        "VendorID": 1,
        "tpep_pickup_datetime": "2024-01-01T00:57:55Z",
        "fare_amount": Decimal("17.70"),
        "store_and_fwd_flag": "N",
        "zip": "01234",
        "note": 'a, "b"\nc',
    }
    assert sample.remarks == ("tpep_pickup_datetime: names no zone and was taken for UTC",)
    assert types(proposal) == {
        "VendorID": "Int64",
        "tpep_pickup_datetime": "DateTime64(3, 'UTC')",
        "fare_amount": "Decimal(18, 2)",
        "store_and_fwd_flag": "String",
        "zip": "String",
        "note": "Nullable(String)",
    }


def test_parquet_of_all_kinds(tmp_path: Path) -> None:
    file = tmp_path / "e.parquet"
    row = {
        "at": datetime.fromisoformat("2026-11-21T10:31:05.250125"),
        "day": date(2026, 11, 21),
        "f": 1.5,
        "nan": float("nan"),
        "raw": b"\0\xff",
        "tags": ["a", "b"],
        "who": {"id": 7, "name": None},
        "pairs": [("k", 1)],
        "n": 3,
    }
    inferred = pa.Table.from_pylist([row | {"pairs": None}]).schema
    schema = inferred.set(inferred.get_field_index("pairs"), pa.field("pairs", pa.map_(pa.string(), pa.int64())))
    table = pa.Table.from_pylist([row], schema=schema)
    pq.write_table(table, file)

    proposal = written(tmp_path / "streams", read_sample(file))

    assert types(proposal) == {
        "at": "DateTime64(6, 'UTC')",
        "day": "Date",
        "f": "Float64",
        "tags": "Array(String)",
        "who.id": "Int64",
        "n": "Int64",
    }


AVRO = {
    "type": "record",
    "name": "Ride",
    "namespace": "city",
    "fields": [
        {"name": "ride_id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "number", "type": "int"},
        {"name": "picked_up_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "created_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        {"name": "fare", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {
            "name": "toll",
            "type": [
                "null",
                {"type": "fixed", "name": "Toll", "size": 6, "logicalType": "decimal", "precision": 10, "scale": 3},
            ],
        },
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["taxi", "bus"]}},
        {"name": "other_kind", "type": ["null", "Kind"], "default": None},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "clock", "type": {"type": "int", "logicalType": "time-millis"}},
        {
            "name": "from",
            "type": {
                "type": "record",
                "name": "Place",
                "fields": [{"name": "lat", "type": "double"}, {"name": "zone", "type": ["null", "string"]}],
            },
        },
        {"name": "to", "type": ["null", "Place"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "labels", "type": {"type": "map", "values": "long"}},
        {"name": "stops", "type": {"type": "array", "items": "Place"}},
        {"name": "raw", "type": "bytes"},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "either", "type": ["string", "long"]},
        {"name": "ok", "type": "boolean"},
        {"name": "next", "type": ["null", "Ride"], "default": None},
        {"name": "_topic", "type": "string", "default": ""},
    ],
}


def test_an_avro_schema_is_kept_as_it_is_and_its_types_say_the_columns(tmp_path: Path) -> None:
    file = tmp_path / "ride.avsc"
    file.write_text(json.dumps(AVRO))

    proposal = written(tmp_path / "streams", read_sample(file))

    assert (tmp_path / "streams" / "mine" / "schema.avsc").read_text() == json.dumps(AVRO) + "\n"
    assert (proposal.identity, proposal.time) == (("ride_id",), "picked_up_at")
    assert types(proposal) == {
        "ride_id": "UUID",
        "number": "Int32",
        "picked_up_at": "DateTime64(6, 'UTC')",
        "created_at": "Nullable(DateTime64(3, 'UTC'))",
        "fare": "Decimal(12, 2)",
        "toll": "Nullable(Decimal(10, 3))",
        "kind": "LowCardinality(String)",
        "other_kind": "LowCardinality(Nullable(String))",
        "day": "Date32",
        "clock": "String",
        "from.lat": "Float64",
        "from.zone": "Nullable(String)",
        "to.lat": "Nullable(Float64)",
        "to.zone": "Nullable(String)",
        "tags": "Array(String)",
        "labels": "Map(String, Int64)",
        "ok": "Bool",
    }
    assert {each.name for each in proposal.left_out} == {"stops", "raw", "local", "either", "next", "_topic"}
    first = json.loads((tmp_path / "streams" / "mine" / "samples.jsonl").read_text().splitlines()[0])
    assert (first["row"]["fare"], first["row"]["toll"]) == ("0.01", "0.001")


@pytest.mark.parametrize(
    ("schema", "wishes", "said"),
    [
        ({"type": "string"}, Wishes(), "not of a record"),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": "X"}]}, Wishes(), "it is no Avro schema"),
        (
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]},
            Wishes(),
            "no field at the top of the schema says when",
        ),
        (AVRO, Wishes(time="created_at"), "--time created_at: is no field at the top of the schema that is an instant"),
        (AVRO, Wishes(identity=("from",)), "--id from: is no field at the top"),
        (AVRO, Wishes(format=RecordFormat.JSON), "the sample is of Avro"),
    ],
)
def test_an_avro_schema_of_which_no_stream_can_be_made(
    tmp_path: Path, schema: dict[str, Any], wishes: Wishes, said: str
) -> None:
    with pytest.raises(GuessError) as refused:
        written(tmp_path / "streams", Sample((), RecordFormat.AVRO, schema_text=json.dumps(schema)), wishes)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.jsonl", b"", "is empty; give a file with some events"),
        ("e.jsonl", b" \n\n", "is empty"),
        ("e.jsonl", b'{"a": 1', "has no line that is a JSON object; line 1: line 1, column"),
        ("e.json", b"[1, 2]", "is a list of what are no objects, 1 for one"),
        ("e.json", b"[]", "has no events"),
        ("e.csv", b"a,b\n", "has no events"),
        ("e.csv", b"a,a\n1,2\n", "names the column 'a' twice"),
        ("e.csv", b"a,,b\n1,2,3\n", "a column has no name"),
        ("e.txt", b"hello", "is neither JSON lines nor Parquet nor CSV"),
        ("e.jsonl", '{"a": 1}'.encode("utf-16"), "is not UTF-8; save it as UTF-8"),
        ("e.parquet", b"PAR1 and nothing else", "is no Parquet that can be read"),
        ("e.gz", b"\x1f\x8bnothing", "cannot be unpacked"),
    ],
)
def test_a_file_that_is_no_sample_is_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SampleError) as refused:
        read_sample(tmp_path / name)

    assert said in str(refused.value)
    with pytest.raises(SampleError, match="No such file"):
        read_sample(tmp_path / "none")


def test_lines_that_are_no_records_are_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(f'{{"id": 1, "at": "{AT}"}}\nhello\n{{"id": 1, "id": 2}}\n')

    sample = read_sample(tmp_path / "e.jsonl")

    assert len(sample.records) == 1
    assert sample.remarks[0].startswith("2 lines are no records and were left out; line 2: ")
