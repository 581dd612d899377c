"""Make the class-data archive of a Spark driver: ``python -m stack.class_archive``.

A driver loads some ten thousand classes at each start. Java writes those of one small job into a file, and later
drivers map that file instead of loading and verifying the classes again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from stack.layout import BUILD
from stack.parts import spark

# What the analysis does, in small: read Parquet, aggregate, collect. s3a is only loaded (there is no server to reach).
_JOB = """
import sys
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.getOrCreate()
spark.range(100).withColumn("kind", F.col("id") % 7).write.mode("overwrite").parquet(sys.argv[1])
frame = spark.read.parquet(sys.argv[1]).dropDuplicates(["id"])
frame.groupBy("kind").agg(F.count("*"), F.countDistinct("id"), F.sum(F.when(F.col("id") > 3, 1))).collect()
spark._jvm.java.lang.Class.forName("org.apache.hadoop.fs.s3a.S3AFileSystem")
spark.stop()
"""


def main() -> None:
    archive = spark.CLASS_ARCHIVE
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_suffix(".draft")
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.py"
        job.write_text(_JOB)
        java = spark.java_options(f"-XX:ArchiveClassesAtExit={draft}")
        (Path(scratch) / "spark-defaults.conf").write_text(spark.defaults("http://127.0.0.1:1", java))
        environment = os.environ | {
            "SPARK_HOME": str(spark.spark_home()),
            "SPARK_CONF_DIR": scratch,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        }
        submit = [str(spark.spark_home() / "bin" / "spark-submit"), "--master", "local[2]", str(job), f"{scratch}/data"]
        subprocess.run(submit, env=environment, check=True)
    draft.replace(archive)
    print(f"{archive} has {archive.stat().st_size / 1e6:.0f} MB ({BUILD})")


if __name__ == "__main__":
    main()
