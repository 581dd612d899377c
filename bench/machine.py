"""What the figures were measured on."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from stack.layout import REPOSITORY

_PACKAGES = ("chdb", "pyspark", "apache-airflow", "confluent-kafka", "pyarrow", "pandas", "clickhouse-connect")


def description() -> dict[str, str | int]:
    """Processor, memory, versions, and the commit (with ``-dirty`` where files differ from it)."""
    processor = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {
        "commit": commit.stdout.strip(),
        "cores": len(psutil.Process().cpu_affinity()),
        "processor": processor[1] if processor else platform.processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }
