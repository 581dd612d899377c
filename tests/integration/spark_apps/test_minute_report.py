"""The job as its caller sees it: files, an exit code, a line a minute."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from etar.minute import MinuteWindow
from etar.stream_code import report_transform
from etar.streams import default_stream
from spark_apps import minute_report
from spark_apps.minute_report import main, only_row, rows_of
from tests.integration.spark_apps.events import WINDOW, Event, table
from tests.interactions import Report


def asking(window: MinuteWindow, source: Path, result: Path, *, stream: str = "user_interactions") -> list[str]:
    return [
        *("--stream", stream, "--minute", str(window)),
        *("--source", f"file:{source}", "--result", f"file:{result}"),
    ]


def run(source: Path, result: Path) -> int:
    return main(
        [
            "--stream",
            "user_interactions",
            "--minute",
            str(WINDOW),
            "--source",
            f"file:{source}",
            "--result",
            f"file:{result}",
        ]
    )


def test_the_job_leaves_one_object_and_the_same_one_again(spark: SparkSession, tmp_path: Path) -> None:
    source, result = tmp_path / "extract.parquet", tmp_path / "results" / "minute.json"
    pq.write_table(table([Event(1), Event(2, user=2, kind="search", status="error", offset=1)]), source)
    written = []
    for _ in range(2):
        assert run(source, result) == 0
        written.append(result.read_bytes())
    assert len(set(written)) == 1
    assert {path.name for path in result.parent.iterdir()} <= {"minute.json", ".minute.json.crc"}
    report = Report.model_validate_json(written[0])
    assert (report.total_events, report.total_errors, report.unique_users, report.rows_read) == (2, 1, 2, 2)
    assert (report.window, report.source_object) == (WINDOW, f"file:{source}")


@pytest.mark.parametrize(("one_task_bytes", "exchanges"), [(4 * 1024 * 1024, 2), (0, 4)])
def test_a_small_minute_is_one_partition_and_its_report_the_same(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_task_bytes: int, exchanges: int
) -> None:
    monkeypatch.setattr(minute_report, "_ONE_TASK_BYTES", one_task_bytes)
    source = tmp_path / "extract.parquet"
    pq.write_table(table([Event(1), Event(2, user=2, offset=1), Event(1, offset=2)]), source)
    made = report_transform(default_stream())(rows_of(spark.newSession(), f"file:{source}"))
    assert made._jdf.queryExecution().executedPlan().toString().count("Exchange ") == exchanges
    row = only_row(made, default_stream())
    assert (row["rows_read"], row["total_events"], row["unique_users"]) == (3, 2, 2)


def test_a_missing_source_is_one_line_on_stderr_and_no_object(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "absent.parquet", tmp_path / "minute.json") == 1
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("minute_report")]
    assert len(said) == 1
    assert "2026-11-21T10:31Z" in said[0]
    assert "absent.parquet" in said[0]
    assert not (tmp_path / "minute.json").exists()


def test_several_minutes_are_each_counted_by_itself_and_a_bad_one_stops_no_other(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    windows = [WINDOW, WINDOW.next, WINDOW.next.next]
    pq.write_table(table([Event(1), Event(2, offset=1)]), tmp_path / "0.parquet")
    (tmp_path / "1.parquet").write_text("not Parquet")
    pq.write_table(table([Event(1, kind="search", status="error")]), tmp_path / "2.parquet")
    arguments = []
    for number, window in enumerate(windows):
        arguments += [
            "--stream",
            "user_interactions",
            "--minute",
            str(window),
            "--source",
            f"file:{tmp_path / f'{number}.parquet'}",
        ]
        arguments += ["--result", f"file:{tmp_path / f'{number}.json'}"]
    assert main(arguments) == 1
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("minute_report")]
    assert len(said) == 1
    assert str(windows[1]) in said[0]
    assert not (tmp_path / "1.json").exists()
    reports = [Report.model_validate_json((tmp_path / f"{number}.json").read_bytes()) for number in (0, 2)]
    assert [(report.window, report.total_events, report.total_errors) for report in reports] == [
        (windows[0], 2, 0),
        (windows[2], 1, 1),
    ]
    assert main([*arguments[:8], *arguments[16:]]) == 0


def test_a_minute_without_its_own_source_and_result_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    minutes = ["--stream", "user_interactions", "--minute", str(WINDOW), "--minute", str(WINDOW.next)]
    with pytest.raises(SystemExit) as ended:
        main([*minutes, "--source", "s3a://x", "--result", "s3a://y", "--result", "s3a://z"])
    assert ended.value.code == 2
    assert "every --stream takes one --minute, one --source and one --result" in capsys.readouterr().err


@pytest.mark.parametrize("minute", ["2026-11-21T10:31:30Z", "soon"])
def test_what_is_not_a_minute_is_a_usage_error(minute: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--stream", "user_interactions", "--minute", minute, "--source", "s3a://x", "--result", "s3a://y"])
    assert ended.value.code == 2
