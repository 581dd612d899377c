"""Peak memory of extracting a large minute, against a small one.

    .venv/bin/python bench/extract_memory.py --rows 7000000

Starts a warehouse and an S3 server of its own in a temporary folder, fills two minutes, and extracts them as the task
does, in a process of its own each: hooks, connections and Airflow's imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from etar.clients import warehouse_client
from etar.minute import MinuteWindow
from etar.settings import WarehouseSettings
from stack.configuration import prepare_settings
from stack.layout import REPOSITORY, Layout
from stack.parts import Stack, airflow
from tests.conftest import running_part, stack_environment, temporary_folder

_SMALL = 10_000
_FILL = """
INSERT INTO user_interactions
    (event_id, user_id, session_id, event_type, status, event_time, product_id, amount, error_code, device, country,
     _topic, _partition, _offset, _timestamp)
SELECT generateUUIDv4(1), generateUUIDv4(2), generateUUIDv4(3), 'view', 'success',
    {start:DateTime64(3, 'UTC')},
    'P' || toString(number % 5000), NULL, NULL, 'mobile', 'DE',
    'user_interactions', number % 6, intDiv(number, 6), {start:DateTime64(3, 'UTC')}
FROM numbers({rows:UInt64})
"""
_EXTRACT = """
import json, resource, sys
from datetime import UTC, datetime
from etar.minute import MinuteWindow
from etar.pipeline.tasks import connections
from etar.pipeline.extract import extract_minute
from etar.settings import ObjectStoreSettings, PipelineSettings, get_settings
from etar.streams import default_stream
policy = get_settings(PipelineSettings)
with connections.warehouse() as warehouse:
    extracted = extract_minute(
        MinuteWindow.parse(sys.argv[1]),
        stream=default_stream(),
        warehouse=warehouse,
        store=connections.object_store(),
        bucket=get_settings(ObjectStoreSettings).bucket,
        grace=policy.grace,
        retention=policy.retention,
        now=lambda: datetime.now(UTC),
    )
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rows": extracted.rows, "peak_mb": peak_mb}))
"""


def fill(stack: Stack, window: MinuteWindow, rows: int) -> None:
    client = warehouse_client(stack.settings.of(WarehouseSettings), send_receive_timeout=600)
    client.command(_FILL, parameters={"start": window.start, "rows": rows})


def extract(stack: Stack, window: MinuteWindow) -> dict[str, float]:
    """``{"rows", "peak_mb"}`` of one extraction; peak resident memory of its process."""
    environment = os.environ | stack.base_environment | airflow.environment(stack)
    # It needs Airflow's hooks and not its database.
    del environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    command = [sys.executable, "-c", _EXTRACT, str(window)]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=7_000_000)
    args = parser.parse_args()
    now = datetime.now(UTC)
    small, large = (MinuteWindow.containing(now - timedelta(minutes=age)) for age in (20, 10))
    with temporary_folder() as folder:
        layout = Layout.at(folder)
        layout.create()
        stack = Stack(layout, prepare_settings(layout.settings_file, stack_environment(), now))
        with running_part("warehouse", stack), running_part("s3", stack):
            fill(stack, small, _SMALL)
            fill(stack, large, args.rows)
            results = [extract(stack, small), extract(stack, large)]
    for result in results:
        print(f"{result['rows']:>10,.0f} rows: peak {result['peak_mb']:.0f} MB")
    print(f"ratio of the peaks: {results[1]['peak_mb'] / results[0]['peak_mb']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
