"""What of Spark's own log a failed analysis is answered with."""

from __future__ import annotations

from pathlib import Path

from spark_apps.analysis_server import Log


def test_it_is_what_was_written_since_the_analysis_began(tmp_path: Path) -> None:
    log = Log(tmp_path / "spark.log")
    assert (log.size(), log.since(0)) == (0, []), "nothing is written yet"
    (tmp_path / "spark.log").write_text("of another minute\n")
    began = log.size()
    assert log.since(began) == []
    with (tmp_path / "spark.log").open("a") as out:
        out.write("ERROR Executor: Exception\n\tat java…\n")
    assert log.since(began) == ["ERROR Executor: Exception", "\tat java…"]


def test_of_a_log_that_was_rotated_meanwhile_it_is_all(tmp_path: Path) -> None:
    log = Log(tmp_path / "spark.log")
    (tmp_path / "spark.log").write_text("before\n" * 100)
    began = log.size()
    (tmp_path / "spark.log").write_text("after\n")
    assert log.since(began) == ["after"]


def test_it_is_no_more_than_a_page_or_two(tmp_path: Path) -> None:
    (tmp_path / "spark.log").write_text("".join(f"{number}: {'x' * 5000}\n" for number in range(1000)))
    lines = Log(tmp_path / "spark.log").since(0)
    assert sum(map(len, lines)) <= 64 * 1024
    assert lines[-1].startswith("999: ")
    (tmp_path / "spark.log").write_text("".join(f"{number}\n" for number in range(1000)))
    assert Log(tmp_path / "spark.log").since(0) == [str(number) for number in range(940, 1000)]


def test_of_a_stack_trace_it_has_what_failed_and_where_from(tmp_path: Path) -> None:
    """Java's are longer than a page, and what failed stands at their top."""
    frames = [f"\tat java{number}" for number in range(90)]
    trace = ["ERROR Executor: task 1", "java.lang.RuntimeException: no Parquet", *frames, "Caused by: it", *frames[:4]]
    (tmp_path / "spark.log").write_text("\n".join([*trace, "WARN lost task 1", *frames[:3]]))
    assert Log(tmp_path / "spark.log").since(0) == [
        "ERROR Executor: task 1",
        "java.lang.RuntimeException: no Parquet",
        *frames[:3],
        "\t… 87 more frames",
        "Caused by: it",
        *frames[:3],
        "\t… 1 more frames",
        "WARN lost task 1",
        *frames[:3],
    ]


def test_where_nobody_has_said_where_it_is_there_is_none() -> None:
    assert (Log(None).size(), Log(None).since(0)) == (0, [])
