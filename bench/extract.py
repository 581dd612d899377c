"""What extracting a large minute takes, as the task does it: against the plain way, and against the engine alone.

    .venv/bin/python bench/extract.py --rows 7000000 --runs 5

Starts a warehouse and an S3 server of its own in a temporary folder and fills a minute. Each way has a process of its
own each time; they take turns. Ours reads and sorts the minute once per record, checks what came, counts dead letters
and stores the object, with Airflow's hooks and connections; the plain way (``plain/query_df.py``) stores the rows as
they lie; the engine alone (the limit) writes the same Parquet to a local file, on a copy of the table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from bench.measure import Bar, Row, in_turn, options_of_a_figure, tell
from etar.clients import object_store_client, warehouse_client
from etar.minute import MinuteWindow
from etar.pipeline.extract import extract_minute
from etar.settings import ObjectStoreSettings, WarehouseSettings
from etar.streams import default_stream
from stack.layout import REPOSITORY
from stack.parts import Stack, airflow
from stack.waiting import wait_until
from tests.conftest import new_stack, running_part

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_SMALL = 10_000
_INSERTS = 20
"""A sink writes batches: the minute lies in several parts, and FINAL has to look at each of them."""

_FILL = """
INSERT INTO user_interactions
    (event_id, user_id, session_id, event_type, status, event_time, product_id, amount, error_code, device, country,
     _topic, _partition, _offset, _timestamp)
WITH number + {first:UInt64} AS n
SELECT generateUUIDv4(1), generateUUIDv4(2), generateUUIDv4(3),
    ['page_view', 'click', 'search', 'add_to_cart', 'purchase'][1 + rand(4) % 5],
    if(rand(5) % 20 = 0, 'error', 'success'),
    {start:DateTime64(3, 'UTC')} + toIntervalMillisecond(rand(6) % 60000),
    if(rand(7) % 2 = 0, 'P' || toString(rand(8) % 5000), NULL), if(rand(9) % 2 = 0, rand(10) % 20000, NULL),
    if(rand(5) % 20 = 0, 'E' || toString(rand(11) % 10), NULL),
    ['mobile', 'desktop', 'tablet'][1 + rand(12) % 3], ['DE', 'FR', 'US', 'GB', 'JP'][1 + rand(13) % 5],
    'user_interactions', n % 6, intDiv(n, 6),
    {start:DateTime64(3, 'UTC')} + toIntervalMillisecond(intDiv(n * 60000, {all:UInt64}))
FROM numbers({rows:UInt64})
"""

_MEASURED = """
import json, re, time
from pathlib import Path
def measured(work):
    began = time.monotonic()
    rows = work()
    seconds = time.monotonic() - began
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mb": peak}))
"""
_OURS = """
import sys
import etar.pipeline.tasks.preload  # what a task's process has of the one that it is forked from
from datetime import UTC, datetime
from etar.minute import MinuteWindow
from etar.pipeline.tasks import connections
from etar.pipeline.extract import extract_minute
from etar.settings import ObjectStoreSettings, PipelineSettings, get_settings
from etar.streams import default_stream
policy = get_settings(PipelineSettings)
with connections.warehouse() as warehouse:
    store = connections.object_store()
    measured(lambda: extract_minute(
        MinuteWindow.parse(sys.argv[1]),
        stream=default_stream(),
        warehouse=warehouse,
        store=store,
        bucket=get_settings(ObjectStoreSettings).bucket,
        grace=policy.grace,
        retention=policy.retention,
        now=lambda: datetime.now(UTC),
    ).rows)
"""
_PLAIN = """
import sys
from bench.plain.query_df import main
import pandas, pyarrow.parquet, boto3, clickhouse_connect
measured(lambda: main(*sys.argv[1:]))
"""
_ENGINE = """
import sys
import chdb
folder, query, settings, file = sys.argv[1:]
connection = chdb.connect(folder)
connection.query("USE etar")
for name, value in json.loads(settings).items():
    connection.query(f"SET {name} = '{value}'")
def work():
    connection.query(f"{query} INTO OUTFILE '{file}' TRUNCATE FORMAT Parquet")
    return int(str(connection.query(f"SELECT count() FROM file('{file}', Parquet)")))
measured(work)
"""


class Run(NamedTuple):
    """One extraction. ``seconds`` of the work, without a process's imports; ``peak_mb`` of the process."""

    rows: int
    seconds: float
    peak_mb: float


def fill(stack: Stack, window: MinuteWindow, rows: int) -> None:
    """A minute's rows in as many inserts as a sink might make, each record once; returns when merges have ended."""
    with warehouse_client(stack.settings.of(WarehouseSettings), send_receive_timeout=600) as client:
        each = -(-rows // _INSERTS)
        for first in range(0, rows, each):
            known = {"start": window.start, "rows": min(each, rows - first), "first": first, "all": rows}
            client.command(_FILL, parameters=known)
        wait_until(
            lambda: client.command("SELECT count() FROM system.merges") == 0, timeout=600, what="merges", interval=1
        )


def run(program: str, *arguments: str, environment: Mapping[str, str]) -> Run:
    """A way to extract, in a process of its own."""
    command = [sys.executable, "-c", _MEASURED + program, *arguments]
    done = subprocess.run(command, env=dict(environment), cwd=REPOSITORY, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    parser = options_of_a_figure(__doc__)
    parser.add_argument("--rows", type=int, default=7_000_000)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    now = datetime.now(UTC)
    small, large = (MinuteWindow.containing(now - timedelta(minutes=age)) for age in (20, 10))
    with new_stack() as stack:
        copy = stack.layout.root / "engine"
        with running_part("warehouse", stack):
            fill(stack, small, _SMALL)
            fill(stack, large, asked.rows)
        shutil.copytree(stack.layout.data("warehouse"), copy, symlinks=True)
        with running_part("warehouse", stack), running_part("s3", stack):
            as_task = os.environ | stack.base_environment | airflow.environment(stack)
            # It needs Airflow's hooks and not its database.
            del as_task["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
            as_user = os.environ | stack.settings.starting_with("ETAR_WAREHOUSE_", "ETAR_S3_")
            bucket = stack.settings.of(ObjectStoreSettings).bucket
            key = default_stream().extract_key(large)
            plainly = (default_stream().table, f"{large.start:%F %T}", f"{large.end:%F %T}", bucket, key)
            found = in_turn(
                {
                    "small": partial(run, _OURS, str(small), environment=as_task),
                    "ours": partial(run, _OURS, str(large), environment=as_task),
                    "plain": partial(run, _PLAIN, *plainly, environment=as_user),
                    "engine": partial(run, _ENGINE, *alone(stack, large, copy), environment=os.environ),
                },
                asked.runs,
            )
    if wrong := {name: runs[0].rows for name, runs in found.items() if name != "small" and runs[0].rows != asked.rows}:
        raise RuntimeError(f"not all rows were extracted: {wrong}")
    return tell(rows_of(found, asked.rows), asked.json)


class _Asked(Exception):  # no error
    """What extracting asks the warehouse for."""


class _Listener:
    """In a warehouse's place: it raises what would be streamed."""

    def __init__(self, warehouse: Client) -> None:
        self.query, self.command = warehouse.query, warehouse.command

    def raw_stream(self, query: str, parameters: dict[str, Any], settings: dict[str, Any], fmt: str) -> IO[bytes]:
        raise _Asked(query, parameters, settings, fmt)


def alone(stack: Stack, window: MinuteWindow, folder: Path) -> tuple[str, str, str, str]:
    """The folder of the engine, what extracting asks of it, with which settings, and the file to write."""
    with warehouse_client(stack.settings.of(WarehouseSettings)) as warehouse:
        try:
            extract_minute(
                window, stream=default_stream(), warehouse=_Listener(warehouse), store=object_store_client(
                    stack.settings.of(ObjectStoreSettings)), bucket="", grace=timedelta(), retention=timedelta(days=1),
                now=lambda: datetime.now(UTC),
            )  # fmt: skip
        except _Asked as asked:
            query, parameters, settings, _ = asked.args
    known = {f"param_{name}": f"{value:%F %T}" for name, value in parameters.items()}
    return str(folder), query, json.dumps(settings | known), str(folder.parent / "engine.parquet")


def rows_of(found: Mapping[str, list[Run]], rows: int) -> list[Row]:
    seconds = {name: [run.seconds for run in runs] for name, runs in found.items()}
    peaks = {name: [run.peak_mb for run in runs] for name, runs in found.items()}
    title = f"extract of {rows:,} rows"
    fast, close, lean = Bar("ratio", at_most=0.2), Bar("ratio", at_most=1.3), Bar("ratio", at_most=1 / 6)
    plain, engine, few = "query_df, pandas, Parquet", "the engine alone, to a local file", f"extract of {_SMALL:,} rows"
    return [
        Row.of(title, "s", seconds["ours"], seconds["plain"], against=plain, bar=fast),
        Row.of(title, "s", seconds["ours"], seconds["engine"], against=engine, bar=close),
        Row.of(f"{title}, peak memory", "MB", peaks["ours"], peaks["plain"], against=plain, bar=lean),
        Row.of(f"{title}, peak memory", "MB", peaks["ours"], peaks["small"], against=few, bar=None),
    ]


if __name__ == "__main__":
    sys.exit(main())
