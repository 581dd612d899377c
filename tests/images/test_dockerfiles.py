"""Each RUN line of the Dockerfiles that can run on Debian runs here, so that one that no longer works is found.

Minutes and gigabytes: part of ``make test-long`` only.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stack.compose_check.dockerfile import parse_dockerfile
from stack.compose_check.programs import find_dockerfiles
from stack.layout import REPOSITORY

BUILT = {
    "docker/etar.Dockerfile": (
        "spark",
        "etar --help | grep -q dead-letters",
        "airflow version",
        "python -c 'import pyspark, streamlit, uvicorn, dashboard.api.main, producer.command'",
        "test -x $SPARK_HOME/bin/spark-submit && test -x $SPARK_HOME/bin/spark-class && java -version",
        "for name in airflow etar uvicorn streamlit python grep install; do command -v $name || exit 1; done",
        "docker/spark/with-properties.sh true",
        "test -w /opt/airflow && test -w /run/etar",
        "test $(id -u) = 10001 && ! touch /opt/etar/written 2>/dev/null",
    ),
    "docker/minio.Dockerfile": ("", "minio --version", "mc --version", "test $(id -u) = 10002"),
}
"""The last stage of each Dockerfile, and what must work in what came of it."""

NOT_BUILT = {
    "docker/connect.Dockerfile": "the connector's archive is on GitHub, and Confluent's image is not Debian",
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", BUILT)
def test_every_line_runs(path: str, debian: Path, scratch: Path) -> None:
    stage, *commands = BUILT[path]
    folder = scratch / Path(path).stem
    folder.mkdir()
    build = [sys.executable, "-m", "tests.images.scratch", path, stage, str(debian), str(folder), *commands]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *build],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    lines = [one for part in parse_dockerfile((REPOSITORY / path).read_text()).stages for one in part.of("RUN")]
    assert done.stdout.count("--- line ") == len(lines), "a RUN line was passed over"


def test_every_dockerfile_is_built_or_says_why_not() -> None:
    files = {str(file.relative_to(REPOSITORY)) for file in find_dockerfiles(REPOSITORY)}
    assert files == set(BUILT) | set(NOT_BUILT)
