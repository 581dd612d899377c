"""A folder that breaks a rule is told with file, place, rule, what was found and what to do; a sound one is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from etar.settings import StreamSettings
from etar.stream_folder.check import check
from etar.stream_folder.propose import Wishes, propose
from etar.stream_folder.sample import Sample
from etar.stream_folder.scaffold import write_folder
from etar.streams import Fault, RecordFormat, Rule, UnknownStreamError, catalogue
from producer.traffic_faults import traffic_faults
from tests.unit.streams.test_new import offered

RECORDS = tuple(
    {
        "sale_id": f"s-{number}",
        "sold_at": f"2026-11-21T10:31:0{number}.250Z",
        "shop": "Berlin",
        "amount": Decimal("12.50"),
        "note": "x" if number else None,
    }
    for number in range(4)
)


@pytest.fixture(scope="module", params=[RecordFormat.JSON, RecordFormat.AVRO])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "streams"
    proposal = propose("sales", Sample(RECORDS), Wishes(format=request.param), offered)
    write_folder(proposal, StreamSettings(streams_folders=str(folder)))
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy to break; the stream's own folder in it."""
    shutil.copytree(sound, tmp_path / "streams")
    return tmp_path / "streams" / "sales"


def checked(folder: Path) -> list[Fault]:
    """As `etar stream check` does."""
    found = catalogue(StreamSettings(streams_folders=str(folder.parent)))
    return [*check(found), *(fault for stream in found.streams.values() for fault in traffic_faults(stream))]


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    return change


def added(file: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text((path.read_text() if path.exists() else "") + text)

    return change


def gone(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def schema_with(field: str) -> Callable[[Path], None]:
    """One more field of text in the schema, whichever kind it is."""

    def change(folder: Path) -> None:
        path = next(folder.glob("schema.*"))
        schema = json.loads(path.read_text())
        if path.suffix == ".avsc":
            schema["fields"].append({"name": field, "type": "string", "default": ""})
        else:
            schema["properties"][field] = {"type": "string"}
        path.write_text(json.dumps(schema))

    return change


def schema_without(field: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(folder.glob("schema.*"))
        schema = json.loads(path.read_text())
        if path.suffix == ".avsc":
            schema["fields"] = [each for each in schema["fields"] if each["name"] != field]
        else:
            del schema["properties"][field]
        path.write_text(json.dumps(schema))

    return change


def another(name: str, topic: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        shutil.copytree(folder, folder.parent / name)
        replaced("stream.toml", 'name = "sales"', f'name = "{name}"')(folder.parent / name)
        added("stream.toml", f'[topic]\nname = "{topic}"\n')(folder.parent / name)

    return change


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def traffic(*, chance: str = "f'{seed}/{worker}'", shop: str = "'Berlin'") -> str:
    return f"""
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

class Traffic:
    def __init__(self, *, seed, worker, rate):
        self._random = Random({chance})

    def next(self, at):
        sale, sold_at = str(self._random.random()), datetime.fromtimestamp(at / 1000, UTC)
        return dict(sale_id=sale, sold_at=sold_at, shop={shop}, amount=Decimal("1.50"), note=None)
"""


IN_BLOCKS = """
from datetime import UTC, datetime
from decimal import Decimal

class Traffic:
    def __init__(self, *, seed, worker, rate):
        self._calls = 0

    def block(self, instants):
        self._calls += 1
        return dict(
            sale_id=[f"{self._calls}/{row}" for row in range(len(instants))],
            sold_at=[datetime.fromtimestamp(at / 1000, UTC) for at in instants.tolist()],
            shop=["Berlin"] * len(instants), amount=[Decimal("1.50")] * len(instants), note=[None] * len(instants),
        )
"""


PAGE = "from etar.page import Bars, Line, Lines, Metric\n"
TABLE = "sql/0001_table.sql"
HEAD = "from etar.report import MinuteReport\n"
WINDOWS = """
[windows]
table = "sales_live"
by = "shop"
values = [{column = "total", streamed = "job_total", report = "sum_of_amount", title = "Sales"}]
"""
MADE = """
CREATE TABLE sales_live (  -- no comment makes updated_at
    window_start timestamptz, window_end timestamptz, shop text, total bigint, job_total bigint, final boolean,
    revision integer, updated_at timestamptz);
"""


def with_windows(made: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "postgres").mkdir()
        (folder / "postgres" / "0001_live.sql").write_text(made)
        added("stream.toml", WINDOWS)(folder)

    return change


BROKEN: list[tuple[Rule, Callable[[Path], None], str, str]] = [
    (Rule.DEFINITION, added("stream.toml", "\n[topics]\n"), "sales/stream.toml, topics", "is not a key"),
    (Rule.DEFINITION, replaced("stream.toml", "[event]", "[event"), "sales/stream.toml, line", "is not TOML"),
    (
        Rule.SCHEMA,
        replaced("stream.toml", 'time = "sold_at"', 'time = "sold"'),
        "event.time",
        "names 'sold', which schema.",
    ),
    (Rule.SCHEMA, replaced("stream.toml", '["sale_id"]', '["id"]'), "event.id", "names 'id', which schema."),
    (Rule.SCHEMA, schema_without("sold_at"), "event.time", "names 'sold_at', which schema."),
    (
        Rule.COLLISION,
        another("sales_landing", "x"),
        "sales_landing/stream.toml, stream.name",
        "the table 'sales_landing' belongs to",
    ),
    (
        Rule.COLLISION,
        another("zales", "sales"),
        "zales/stream.toml, topic.name",
        "the topic 'sales' belongs to the stream 'sales'",
    ),
    (
        Rule.RESERVED,
        both(schema_with("_topic"), replaced("stream.toml", '["sale_id"]', '["sale_id", "_topic"]')),
        "event.id",
        "names _topic, which etar adds",
    ),
    (
        Rule.RESERVED,
        both(schema_with("event_minute"), added("stream.toml", "[checks]\nevent_minute = {max_length = 3}")),
        "checks.event_minute",
        "names event_minute",
    ),
    (Rule.STATEMENTS, gone(TABLE), "sales/sql", "has no .sql files"),
    (
        Rule.STATEMENTS,
        added("sql/0001_more.sql", "ALTER TABLE sales ADD COLUMN IF NOT EXISTS x Int8"),
        "sales/sql",
        "have the same number",
    ),
    (Rule.STATEMENTS, added("sql/next.sql", "x"), "sales/sql", "is not named like 0001_what_it_makes.sql"),
    (
        Rule.STATEMENTS,
        replaced(TABLE, "EXISTS sales", "EXISTS user_interactions"),
        "statement 1",
        "is about user_interactions, which is not this stream's",
    ),
    (Rule.STATEMENTS, replaced(TABLE, "EXISTS sales", "EXISTS other.sales"), "statement 1", "is about other.sales"),
    (
        Rule.STATEMENTS,
        added("sql/0002_drop.sql", "DROP TABLE IF EXISTS sales"),
        "0002_drop.sql, statement 1",
        "drops the table of the events",
    ),
    (
        Rule.STATEMENTS,
        added("sql/0002_view.sql", "CREATE MATERIALIZED VIEW IF NOT EXISTS sales_landed TO users AS SELECT 1"),
        "0002_view.sql, statement 1",
        "is about users",
    ),
    (
        Rule.STATEMENTS,
        added("sql/0002_set.sql", "SYSTEM SHUTDOWN"),
        "0002_set.sql, statement 1",
        "neither makes nor changes a table",
    ),
    (
        Rule.REPEATABLE,
        replaced(TABLE, "shop String", "shop Strin"),
        "statement 1",
        "the engine refuses it: Unknown data type family: Strin",
    ),
    (Rule.REPEATABLE, replaced(TABLE, "IF NOT EXISTS ", ""), "statement 1", "the second time, the engine refuses it"),
    (
        Rule.REPEATABLE,
        added("sql/0002_x.sql", "ALTER TABLE sales ADD COLUMN x Nullable(Int8)"),
        "0002_x.sql, statement 1",
        "the second time, the engine refuses it",
    ),
    (
        Rule.COLUMNS,
        replaced(TABLE, "EXISTS sales", "EXISTS sales_landing"),
        "sales/sql",
        "no statement makes the table sales",
    ),
    (
        Rule.COLUMNS,
        replaced(TABLE, "_partition Int32", "_partition Int64"),
        "_partition",
        "is Int64; it must be _partition Int32",
    ),
    (
        Rule.COLUMNS,
        replaced(TABLE, "sold_at DateTime64(3, 'UTC')", "sold_at DateTime64(3)"),
        "sold_at",
        "is DateTime64(3); the event's time must be",
    ),
    (
        Rule.COLUMNS,
        replaced(TABLE, "sold_at DateTime64(3, 'UTC')", "sold_at DateTime('UTC')"),
        "sold_at",
        "is DateTime('UTC'); the event's time must be",
    ),
    (
        Rule.COLUMNS,
        replaced(TABLE, "sale_id String", "sale_id Nullable(String)"),
        "sale_id",
        "is Nullable(String); what tells one event from another",
    ),
    (
        Rule.COLUMNS,
        replaced(TABLE, "sale_id String", "sale_id String DEFAULT 'x'"),
        "sale_id",
        "is String DEFAULT; what tells one event from another",
    ),
    (
        Rule.COLUMNS,
        added("stream.toml", '[checks]\nshop = {min = "1"}'),
        "sales/sql",
        "the check min or max is for numbers",
    ),
    (Rule.MINUTES, replaced(TABLE, "ReplacingMergeTree", "MergeTree"), "ENGINE", "the engine is MergeTree"),
    (
        Rule.MINUTES,
        replaced(TABLE, "PARTITION BY event_minute", "PARTITION BY toDate(sold_at)"),
        "PARTITION BY",
        "is toDate(sold_at)",
    ),
    (
        Rule.MINUTES,
        replaced(TABLE, "(_topic, _partition, _offset)\n", "(_topic, _partition)\n"),
        "ORDER BY",
        "is _topic, _partition; ",
    ),
    (Rule.MINUTES, replaced(TABLE, "INTERVAL 26 HOUR", "INTERVAL 24 HOUR"), "TTL", "keeps a minute for 24 h"),
    (Rule.MINUTES, replaced(TABLE, "TTL event_minute + INTERVAL 26 HOUR\n", ""), "TTL", "rows do not leave the table"),
    (Rule.MINUTES, replaced(TABLE, "ttl_only_drop_parts = 1, ", ""), "SETTINGS", "ttl_only_drop_parts is not 1"),
    (
        Rule.MINUTES,
        replaced(TABLE, "toStartOfMinute(sold_at)", "toStartOfHour(sold_at)"),
        "event_minute",
        "is DateTime('UTC') MATERIALIZED toStartOfHour(sold_at)",
    ),
    (
        Rule.FIELDS,
        replaced(TABLE, "    shop String", "    till String,\n    shop String"),
        "till",
        "the column till String has no field",
    ),
    (Rule.SAMPLES, gone("samples.jsonl"), "samples.jsonl", "cannot be read: No such file"),
    (Rule.SAMPLES, added("samples.jsonl", "{"), "samples.jsonl, line", "is no JSON object"),
    (
        Rule.SAMPLES,
        added("samples.jsonl", '{"record": {}, "row": {}}'),
        "samples.jsonl, line",
        "says when the broker took it",
    ),
    (
        Rule.SAMPLES,
        replaced("samples.jsonl", '"reason": "too_late"', '"reason": "too_early"'),
        "samples.jsonl, line",
        "has the reason 'too_early'; there are null_value",
    ),
    (
        Rule.SAMPLES,
        replaced("samples.jsonl", '"reason": "too_late"', '"reason": "truncated"'),
        "samples.jsonl, line",
        "becomes a dead letter, too_late (sold_at 2026",
    ),
    (
        Rule.SAMPLES,
        replaced("samples.jsonl", '"reason": "too_late"', '"reason": "too_late", "detail": "amount: max"'),
        "samples.jsonl, line",
        "becomes a dead letter that says sold_at 2026",
    ),
    (
        Rule.SAMPLES,
        replaced("samples.jsonl", '"appended":', '"detail": "amount: max", "appended":'),
        "samples.jsonl, line 1",
        'has "detail" without "reason"',
    ),
    (
        Rule.SAMPLES,
        replaced("samples.jsonl", '"appended": "2026-11-21T10:31:01.250Z"', '"appended": "2026-12-21T10:31:01.250Z"'),
        "samples.jsonl, line 1",
        "and says that it becomes a row",
    ),
    (
        Rule.SAMPLES,
        replaced("samples.jsonl", '"amount": "12.50"', '"amount": "12.51"'),
        "samples.jsonl, line 1",
        'in its row amount is "12.50", and it says "12.51"',
    ),
    (
        Rule.SAMPLES,
        replaced("samples.jsonl", '"shop": "Berlin", "amount": "12.50"', '"amount": "12.50"'),
        "samples.jsonl, line 1",
        'in its row shop is "Berlin", and it says no column',
    ),
    (Rule.WINDOWS, added("stream.toml", WINDOWS), "windows.table", "which no file of postgres/ makes"),
    (
        Rule.WINDOWS,
        with_windows(MADE.replace(" updated_at timestamptz", " at timestamptz")),
        "postgres, sales_live",
        "has no column updated_at",
    ),
    (Rule.WINDOWS, with_windows(MADE), "windows.values", "names 'sum_of_amount', which is no mapping of the report"),
    (Rule.REPORT, gone("report.sql"), "sales", "has neither report.sql nor report.py"),
    (Rule.REPORT, replaced("report.sql", "SELECT\n", "DELETE\n"), "report.sql", "is 'DELETE"),
    (Rule.REPORT, added("report.sql", "; SELECT 1 FROM events"), "report.sql", "is several statements"),
    (Rule.REPORT, replaced("report.sql", "FROM events", "FROM rows"), "report.sql", "does not read events"),
    (Rule.REPORT, added("report.py", "def transform(events): ..."), "report.py, transform", "and report.sql beside it"),
    (
        Rule.REPORT,
        added("report.py", "def x(:"),
        "report.py, Report",
        "cannot be imported: SyntaxError: invalid syntax (report.py, line 1)",
    ),
    *(
        (Rule.REPORT, both(gone("report.sql"), added("report.py", f"{HEAD}{code}\n")), f"report.py, {place}", what)
        for code, place, what in (
            ("class Report: ...", "Report", "is no subclass of etar.report.MinuteReport; make it one"),
            ("class Report(MinuteReport): ...", "transform", "is missing: the file does not define it; define it"),
            (
                "class Report(MinuteReport):\n    sold: int",
                "Report",
                "cannot say that a minute has no events: sold Field",
            ),
            ("class Report(MinuteReport):\n    schema_version: int = 2", "Report", "has schema_version 2, but the"),
            ("class Report(MinuteReport):\n    revision: int = 2", "Report", "has revision, which is the API's own"),
            ("class Report(MinuteReport): ...\ntransform = 3", "transform", "is no function; it takes a DataFrame"),
            ("import nothing_of_this_name", "Report", "cannot be imported: ModuleNotFoundError"),
        )
    ),
    (
        Rule.REPORT,
        added("stream.toml", "[traffic]\nrate = 2"),
        "traffic.py",
        "is missing; write it, or take [traffic] out",
    ),
    *(
        (
            Rule.REPORT,
            both(added("stream.toml", "[traffic]\nrate = 2"), added("traffic.py", code)),
            "traffic.py, Traffic",
            what,
        )
        for code, what in (
            ("Traffic = 5", "is no class; make it one, with a method block or next"),
            ("class Traffic: ...", "makes no events; give it a method block or next"),
        )
    ),
    *(
        (
            Rule.REPORT,
            added("stream.toml", f'[report]\ncolumns = ["shop", "{name}"]'),
            "stream.toml, report.columns",
            f"an extract can have no column {name}: the table sales has none that comes from the event; name some of "
            "sale_id, sold_at, shop, amount, note, _partition, ",
        )
        for name in ("shops", "event_minute", "_topic")
    ),
    (Rule.GOLDEN, gone("golden.json"), "golden.json", "cannot be read"),
    (Rule.GOLDEN, added("golden.json", "x"), "golden.json", "is no JSON object"),
    (
        Rule.GOLDEN,
        replaced("golden.json", '"rows_read": 3', '"rows_read": 4'),
        "golden.json, rows_read",
        "is 4, and 3 samples become rows",
    ),
    *(
        (Rule.PAGE, added("page.py", f"{PAGE}{code}\n"), place, what)
        for code, place, what in (
            ("METRICS, CHARTS = (Metric('sum', 'Sum'),), ()", "page.py, METRICS, 'Sum'", "shows 'sum', which the"),
            ("METRICS, CHARTS = (), (Bars('By shop', 'shops'),)", "page.py, CHARTS, 'By shop'", "shows 'shops', which"),
            (
                "METRICS, CHARTS = (), (Lines((Line('sum', 'Sum'),)),)",
                "page.py, CHARTS, line 'Sum'",
                "sum_of_amount, total_events)",
            ),
            ("METRICS, CHARTS = [], ()", "page.py", "is no tuple of etar.page's Metric"),
            ("METRICS = ()", "page.py", "is missing: the file does not define it"),
            ("import nothing_of_this_name", "page.py", "cannot be imported: ModuleNotFoundError"),
        )
    ),
    *(
        (Rule.TRAFFIC, both(added("stream.toml", "[traffic]\nrate = 2"), added("traffic.py", code)), place, what)
        for code, place, what in (
            (traffic(chance=""), "traffic.py, Traffic", "its event 1 is another one in a second run of the same seed"),
            (
                IN_BLOCKS,
                "traffic.py, Traffic",
                "its event 8 is another one in a second run of the same seed, with 7 at a",
            ),
            (traffic(shop="object()"), "traffic.py, Traffic", "made no event of the stream's schema: TypeError"),
            (traffic(shop="[][0]"), "traffic.py, Traffic", "IndexError: list index out of range (traffic.py, line 1"),
            ("class Traffic:\n    def next(self, at): ...", "traffic.py, Traffic", "cannot be made: TypeError"),
        )
    ),
]


@pytest.mark.parametrize(
    ("rule", "change", "place", "what"), BROKEN, ids=lambda part: part if isinstance(part, str) else ""
)
def test_a_broken_folder_is_told_with_the_rule_that_it_breaks(
    folder: Path, rule: Rule, change: Callable[[Path], None], place: str, what: str
) -> None:
    change(folder)

    errors = [fault for fault in checked(folder) if not fault.is_warning]

    told = [str(fault) for fault in errors if fault.rule is rule]
    assert any(place in each and what in each for each in told), [(fault.rule, str(fault)) for fault in errors]


def test_there_is_a_broken_folder_for_each_rule() -> None:
    assert {rule for rule, *_ in BROKEN} == set(Rule)


def test_a_sound_folder_is_not_told_of(folder: Path) -> None:
    assert checked(folder) == []
    # Plain JSON and JSON behind a header differ in nothing else.
    if "json" in (text := (folder / "stream.toml").read_text()):
        (folder / "stream.toml").write_text(text.replace('"json"', '"json-registered"'))
        assert checked(folder) == []


def test_a_page_and_traffic_that_are_sound_are_not_told_of(folder: Path) -> None:
    added("page.py", f"{PAGE}METRICS, CHARTS = (Metric('rows_read', 'Rows'),), (Bars('By shop', 'total_events'),)")(
        folder
    )
    both(added("stream.toml", "[traffic]\nrate = 2"), added("traffic.py", traffic()))(folder)

    assert checked(folder) == []


def test_a_field_without_a_column_and_a_column_that_stays_null_are_warnings(folder: Path) -> None:
    schema_with("colour")(folder)
    schema_with("_offset")(folder)
    added("sql/0002_more.sql", "ALTER TABLE sales ADD COLUMN IF NOT EXISTS size Nullable(Int64)")(folder)
    for line in (folder / "samples.jsonl").read_text().splitlines():
        replaced("samples.jsonl", line, line.replace('"row": {', '"row": {"size": null, '))(folder)

    found = checked(folder)

    assert all(fault.is_warning and fault.rule is Rule.FIELDS for fault in found)
    assert [(fault.place, fault.what.split(" in ")[0]) for fault in found] == [
        ("size", "the column size Nullable(Int64) has no field of its name"),
        ("_offset", "is the name of what etar adds to each row"),
        ("colour", "has no column"),
    ]


def test_every_fault_of_a_folder_is_told_at_once(folder: Path) -> None:
    replaced(TABLE, "ReplacingMergeTree", "MergeTree")(folder)
    replaced(TABLE, "26 HOUR", "1 HOUR")(folder)
    replaced("samples.jsonl", '"amount": "12.50"', '"amount": "12.51"')(folder)
    gone("report.sql")(folder)

    assert {fault.rule for fault in checked(folder)} == {Rule.MINUTES, Rule.SAMPLES, Rule.REPORT}


def test_a_stream_that_is_like_another_is_checked_by_its_own_names(folder: Path) -> None:
    like = folder.parent / "second"
    like.mkdir()
    (like / "stream.toml").write_text('[stream]\nname = "second"\nlike = "sales"\n')

    assert checked(folder) == []


def test_one_stream_may_be_checked_alone_and_must_be_there(folder: Path) -> None:
    another("zales", "sales")(folder)
    found = catalogue(StreamSettings(streams_folders=str(folder.parent)))

    assert check(found, ["sales"]) == []
    assert [fault.stream for fault in check(found, ["zales"])] == ["zales"]
    with pytest.raises(UnknownStreamError, match=r"there is no stream 'none'.*there are: sales"):
        check(found, ["none"])
