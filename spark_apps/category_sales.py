"""Sales a minute and category, as they come in: a job of a stream of sales (``[[jobs]]`` of its ``stream.toml``).

One-minute tumbling windows of the event's time, a watermark of one minute, each event once. What comes later than the
watermark is left to the minute's report, which has the last word on a window.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg import Connection
from pyspark.sql import functions as F

from etar.streams import Stream
from spark_apps import streaming

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

WINDOW = "1 minute"
WATERMARK = "1 minute"

_INCOMING = """\
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_category_sales (
    window_start timestamptz, window_end timestamptz, category text,
    total_sales numeric(18, 2), transaction_count bigint
) ON COMMIT DELETE ROWS"""

_COPY = """\
COPY incoming_category_sales (window_start, window_end, category, total_sales, transaction_count) FROM STDIN"""

_UPSERT = """\
INSERT INTO category_sales AS known (
    window_start, window_end, category, total_sales, transaction_count, streamed_sales, streamed_count, batch_id
)
SELECT window_start, window_end, category, total_sales, transaction_count, total_sales, transaction_count, %s
FROM incoming_category_sales
ORDER BY window_start, category
ON CONFLICT (window_start, category) DO UPDATE SET
    streamed_sales = excluded.streamed_sales,
    streamed_count = excluded.streamed_count,
    total_sales = CASE WHEN known.final THEN known.total_sales ELSE excluded.total_sales END,
    transaction_count = CASE WHEN known.final THEN known.transaction_count ELSE excluded.transaction_count END,
    batch_id = excluded.batch_id,
    updated_at = now()"""


class CategorySales:
    """A :class:`spark_apps.streaming.Job`."""

    columns: tuple[str, ...] = ("transaction_id", "product_category", "amount", "timestamp")

    def transform(self, rows: DataFrame, stream: Stream) -> DataFrame:
        """Columns: ``window`` (start, end), ``category``, ``total_sales`` (decimal), ``transaction_count``."""
        # An event is the same event within its minute, as it is to the minute's report. With the window in the key,
        # Spark forgets an event together with its window: half of what dropDuplicatesWithinWatermark keeps, which
        # also drops events that are behind the watermark while their window is open.
        windows = rows.withWatermark(stream.time, WATERMARK).withColumn("window", F.window(stream.time, WINDOW))
        return (
            windows.dropDuplicates([*stream.identity, "window"])
            .groupBy("window", F.col("product_category").alias("category"))
            .agg(F.sum("amount").alias("total_sales"), F.count("*").alias("transaction_count"))
        )

    def prepare(self, connection: Connection[Any]) -> None:
        connection.execute(_INCOMING)

    def store(self, connection: Connection[Any], batch_id: int, rows: Sequence[Row]) -> None:
        with connection.cursor() as cursor:
            with cursor.copy(_COPY) as copy:
                for row in rows:
                    start, end = (each.astimezone() for each in (row.window.start, row.window.end))
                    copy.write_row((start, end, row.category, row.total_sales, row.transaction_count))
            cursor.execute(_UPSERT, (batch_id,))


if __name__ == "__main__":
    sys.exit(streaming.main(CategorySales(), sys.argv[1:], __doc__))
