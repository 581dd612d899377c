"""Reports of streams of other people's making: several in one call, SELECTs in place of Python, and faults of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from etar.settings import get_settings
from spark_apps.minute_report import main
from tests.integration.spark_apps.events import WINDOW, Event, table
from tests.stream_folders import define

SALES = """
from etar.report import MinuteReport

class Report(MinuteReport):
    {fields}

def transform(events):
    from pyspark.sql import functions as F
    return {transform}
"""
COUNTED = 'F.count("*").alias("rows_read"), F.count_distinct("event_id").alias("total_events")'
COUNTS = SALES.format(fields="pass", transform=f"events.agg({COUNTED})")

Write = Callable[..., None]
Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """``write("sales", **{"report.py": …})`` makes a stream's folder."""
    monkeypatch.setenv("ETAR_STREAMS_FOLDERS", f"streams:{tmp_path / 'streams'}")
    get_settings.cache_clear()

    def write(name: str, **files: str) -> None:
        define(tmp_path / "streams", name, **files)

    yield write
    get_settings.cache_clear()


@pytest.fixture
def run(spark: SparkSession, tmp_path: Path) -> Run:
    """``run("sales", "clicks")`` makes a report of each from the same rows; the exit code, and what was complained."""

    def run(*streams: str, rows: pa.Table | None = None) -> tuple[int, list[str]]:
        source = tmp_path / "extract.parquet"
        pq.write_table(table([Event(1), Event(2, offset=1), Event(2, offset=2)]) if rows is None else rows, source)
        arguments = [
            argument
            for name in streams
            for argument in (
                *("--stream", name, "--minute", str(WINDOW)),
                *("--source", f"file:{source}", "--result", f"file:{tmp_path / name}.json"),
            )
        ]
        complaints: list[str] = []
        return main(arguments, complain=complaints.append), complaints

    return run


@pytest.fixture
def result(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    return lambda name: dict(json.loads((tmp_path / f"{name}.json").read_text()))


def test_a_call_makes_reports_of_several_streams(write: Write, run: Run, result: Callable[[str], Any]) -> None:
    write("sales", **{"report.py": COUNTS})
    assert run("sales", "user_interactions") == (0, [])
    assert (result("sales")["stream"], result("sales")["rows_read"], result("sales")["total_events"]) == ("sales", 3, 2)
    assert result("user_interactions")["event_types"]["view"] == {"success": 2, "error": 0}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param({"report.py": "def f(:\n"}, "SyntaxError", id="syntax"),
        pytest.param({"report.py": "import nowhere"}, "No module named 'nowhere'", id="import"),
        pytest.param(
            {"report.py": SALES.format(fields="pass", transform=f'events.groupBy("event_id").agg({COUNTED})')},
            "the transform of stream faulty made 2 rows of a minute, and has to make exactly one",
            id="two rows",
        ),
        pytest.param(
            {"report.py": SALES.format(fields="pass", transform=f'events.where("false").select({COUNTED}).limit(0)')},
            "made 0 rows of a minute",
            id="no row",
        ),
        pytest.param(
            {"report.py": COUNTS.replace('F.count("*")', "F.count_if(F.col('_offset') < 1)")},
            "total_events 2 is more than rows_read 1",
            id="what does not add up",
        ),
        pytest.param(
            {"report.py": COUNTS.replace("pass", "sold: int = 0")}, "sold Field required", id="a column is missing"
        ),
        pytest.param(
            {"report.py": COUNTS.replace("events.agg(", "events.agg(F.count('*').alias('sold'), ")},
            "sold Extra inputs are not permitted",
            id="a column too many",
        ),
        pytest.param({"report.py": COUNTS.replace('"event_id"', '"order_id"')}, "order_id", id="a column unknown"),
        pytest.param({}, "has no", id="no report"),
        pytest.param({"report.sql": "SELECT FROM WHERE"}, "report.sql is not taken by Spark", id="no SQL"),
        pytest.param({"report.sql": "DROP VIEW events"}, "make it one SELECT", id="no SELECT"),
        pytest.param({"report.sql": "SELECT 1 AS a; SELECT 2 AS b"}, "make it one SELECT", id="two SELECTs"),
        pytest.param({"report.sql": "SELECT sum(price) AS a FROM events"}, "price", id="SQL of an unknown column"),
        pytest.param(
            {"report.sql": "SELECT event_id AS e FROM events"}, "made 2 rows of a minute", id="SQL of two rows"
        ),
        pytest.param({"report.sql": "SELECT 1 AS a, 2 AS a"}, "several columns of one name", id="SQL, one name twice"),
        pytest.param(
            {"report.sql": "SELECT 1 AS minute"}, "selects minute, which each report has", id="SQL of envelope"
        ),
        pytest.param({"report.sql": "SELECT 1 AS revision"}, "selects revision", id="SQL of the API's"),
        pytest.param({"report.sql": "SELECT max(event_id) AS a FROM events"}, "a column of bytes", id="SQL of bytes"),
        pytest.param({"report.sql": "SELECT double('NaN') AS a"}, "finite number", id="SQL, not a number"),
        pytest.param(
            {"report.sql": "SELECT 4 AS total_events"}, "total_events 4 is more than rows_read 3", id="SQL that is off"
        ),
        pytest.param(
            {"report.sql": "SELECT 1 AS a", "report.py": COUNTS}, "both say how a report is made", id="both ways"
        ),
    ],
)
def test_a_fault_is_said_in_one_line_and_stops_no_other_stream(
    write: Write, run: Run, result: Callable[[str], Any], files: dict[str, str], said: str
) -> None:
    write("faulty", **files)
    code, complaints = run("faulty", "user_interactions")
    assert code == 1
    (line,) = complaints
    assert line.startswith("minute_report faulty 2026-11-21T10:31Z: ")
    assert said in line
    assert result("user_interactions")["total_events"] == 2
    with pytest.raises(FileNotFoundError):
        result("faulty")


def test_an_unknown_stream_is_said_with_those_that_are_known(write: Write, run: Run) -> None:
    write("sales", **{"report.py": COUNTS})
    code, (line,) = run("payments")
    assert code == 1
    assert "there is no stream 'payments' in " in line
    assert "(there are: " in line
    assert "user_interactions, sales)" in line


def test_a_transform_may_call_functions_of_its_own_folder_for_each_row(
    write: Write, run: Run, result: Callable[[str], Any]
) -> None:
    """Spark's Python workers know nothing of how the folder was loaded."""
    write(
        "sales",
        **{
            "names.py": "def kind(offset):\n    return 'late' if offset > 1 else 'early'\n",
            "report.py": "from .names import kind\n"
            + SALES.format(
                fields="late: int = 0",
                transform="events.withColumn('kind', F.udf(kind)('_offset'))"
                f".agg({COUNTED}, F.count_if(F.col('kind') == 'late').alias('late'))",
            ),
        },
    )
    assert run("sales") == (0, [])
    assert result("sales")["late"] == 1


ROWS = pa.table(
    {
        "event_id": ["a", "b", "b", "c"],
        "_partition": pa.array([0, 0, 1, 0], pa.int32()),
        "_offset": pa.array([5, 7, 1, 6], pa.int64()),
        "amount": pa.array([Decimal("0.10"), Decimal("0.20"), Decimal("9.90"), Decimal("0.30")], pa.decimal128(12, 2)),
        "at": pa.array([datetime(2026, 11, 21, 10, 31, n, 250_000, UTC) for n in range(4)], pa.timestamp("us", "UTC")),
    }
)


def test_a_select_is_a_report_with_decimals_exact_and_times_in_utc(
    write: Write, run: Run, result: Callable[[str], Any]
) -> None:
    write(
        "sales",
        **{
            "report.sql": """
                -- each event once
                WITH priced AS (SELECT *, amount * 2 AS double_amount FROM events)
                SELECT sum(amount) AS revenue, sum(double_amount) AS twice, CAST(0 AS DECIMAL(38, 18)) AS nothing,
                  min(at) AS first_sale, max(CAST(at AS DATE)) AS day, count_if(amount > 0.15) AS dear,
                  max(amount) > 5 AS any_dear, 0.5D AS half, CAST(NULL AS STRING) AS note,
                  sort_array(collect_list(amount)) AS amounts, map('x', struct(max(amount) AS top)) AS tops
                FROM priced;
            """
        },
    )
    assert run("sales", rows=ROWS) == (0, [])
    made = result("sales")
    assert made == {
        "schema_version": 1,
        "stream": "sales",
        "minute": "2026-11-21T10:31:00Z",
        "total_events": 3,
        "revenue": "0.60",
        "twice": "1.20",
        "nothing": "0.000000000000000000",
        "first_sale": "2026-11-21T10:31:00.25Z",
        "day": "2026-11-21",
        "dear": 2,
        "any_dear": False,
        "half": 0.5,
        "note": None,
        "amounts": ["0.10", "0.20", "0.30"],
        "tops": {"x": {"top": "0.30"}},
        "rows_read": 4,
        "source_object": made["source_object"],
    }
    assert list(made)[:5] == ["schema_version", "stream", "minute", "total_events", "revenue"]


def test_a_models_decimals_are_exact(write: Write, run: Run, result: Callable[[str], Any]) -> None:
    report = SALES.format(
        fields='revenue: Decimal = Decimal("0.00")',
        transform=f"events.agg({COUNTED}, F.expr('sum(amount) + 12345678901234567.80').alias('revenue'))",
    )
    write("sales", **{"report.py": f"from decimal import Decimal\n{report}"})
    assert run("sales", rows=ROWS.slice(0, 2)) == (0, [])
    assert result("sales")["revenue"] == "12345678901234568.10"


def test_a_select_of_a_minute_whose_rows_are_none_still_is_one_row(
    write: Write, run: Run, result: Callable[[str], Any]
) -> None:
    write("sales", **{"report.sql": "SELECT sum(amount) AS revenue FROM events"})
    assert run("sales", rows=ROWS.slice(0, 0)) == (0, [])
    assert (result("sales")["revenue"], result("sales")["rows_read"], result("sales")["total_events"]) == (None, 0, 0)


def test_a_select_may_make_the_row_of_a_model(write: Write, run: Run, result: Callable[[str], Any]) -> None:
    write(
        "sales",
        **{
            "report.sql": "SELECT count(*) AS sold FROM events",
            "report.py": "from etar.report import MinuteReport\nclass Report(MinuteReport):\n    sold: int = 0\n",
        },
    )
    assert run("sales", rows=ROWS) == (0, [])
    assert (result("sales")["sold"], result("sales")["rows_read"]) == (3, 4)


def test_what_one_stream_names_is_not_there_for_another(write: Write, run: Run) -> None:
    """Also in a Spark that stays, where two are at work at the same time."""
    write("sales", **{"report.sql": "SELECT count(*) AS sold FROM events"})
    write("clicks", **{"report.py": COUNTS.replace("return events", "return events.sparkSession.table('events')")})
    code, (line,) = run("sales", "clicks")
    assert code == 1
    assert line.startswith("minute_report clicks")
    assert "TABLE_OR_VIEW_NOT_FOUND" in line


def test_a_select_reads_columns_of_nested_fields(write: Write, run: Run, result: Callable[[str], Any]) -> None:
    """Which have points in their names."""
    rows = table([Event(1), Event(2, offset=1), Event(2, offset=2)])
    write("sales", **{"report.sql": "SELECT count(DISTINCT `buyer.id`) AS buyers, max(`buyer.id`) AS last FROM events"})

    assert run("sales", rows=rows.append_column("buyer.id", pa.array([7, 8, 9]))) == (0, [])

    assert (result("sales")["buyers"], result("sales")["last"], result("sales")["rows_read"]) == (2, 8, 3)
