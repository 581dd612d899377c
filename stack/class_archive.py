"""Make the class-data archive of a Spark driver: ``python -m stack.class_archive``.

A driver loads some ten thousand classes at each start. Java writes those of one small job into a file, and later
drivers map that file instead of loading and verifying the classes again. The job is the analysis, on a few rows.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from stack.layout import REPOSITORY
from stack.parts import spark

ROWS = 100


def write_events(file: Path) -> None:
    """``ROWS`` events of one minute, each once, as an extract has them."""
    ids = [UUID(int=number).bytes for number in range(ROWS)]
    table = pa.table(
        {
            "event_id": pa.array(ids, pa.binary()),
            "user_id": pa.array(ids, pa.binary()),
            "event_type": ["view", "click"] * (ROWS // 2),
            "status": ["success", "error"] * (ROWS // 2),
            "_partition": pa.array([0] * ROWS, pa.int32()),
            "_offset": pa.array(range(ROWS), pa.int64()),
        }
    )
    pq.write_table(table, file, compression="zstd")


def main() -> None:
    archive = spark.CLASS_ARCHIVE
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_suffix(".draft")
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        write_events(scratch / "events.parquet")
        java = spark.java_options(f"-XX:ArchiveClassesAtExit={draft}")
        (scratch / "spark.properties").write_text(spark.properties("http://127.0.0.1:1", java))
        submit = [
            str(spark.spark_home() / "bin" / "spark-submit"),
            "--master", "local[2]",
            "--properties-file", str(scratch / "spark.properties"),
            str(REPOSITORY / "spark_apps" / "interaction_report.py"),
            "--minute", "2026-01-01T00:00Z",
            "--source", (scratch / "events.parquet").as_uri(),
            "--result", (scratch / "report.json").as_uri(),
        ]  # fmt: skip
        subprocess.run(submit, env=os.environ | spark.environment("unused", "unused"), check=True)
    draft.replace(archive)
    print(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
