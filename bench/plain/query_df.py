"""The plain way to extract a minute: the rows as a pandas frame, the frame as a Parquet file, the file to S3.

query_df.py TABLE START END BUCKET KEY
"""

from __future__ import annotations

import sys
import tempfile

from etar.clients import object_store_client, warehouse_client
from etar.settings import ObjectStoreSettings, WarehouseSettings, get_settings


def main(table: str, start: str, end: str, bucket: str, key: str) -> int:
    """Returns how many rows there were."""
    with warehouse_client(get_settings(WarehouseSettings), send_receive_timeout=600) as warehouse:
        rows = warehouse.query_df(f"SELECT * FROM {table} WHERE event_time >= '{start}' AND event_time < '{end}'")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        rows.to_parquet(file.name, index=False)
        object_store_client(get_settings(ObjectStoreSettings)).put_object(Bucket=bucket, Key=key, Body=file)
    return len(rows)


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
