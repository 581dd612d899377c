"""What a minute of sales comes to, compared with exact arithmetic over the same rows."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from etar.minute import MinuteWindow
from etar.streams import stream_named
from spark_apps.minute_report import report_of

MINUTE = MinuteWindow.parse("2026-11-21T10:31Z")
FIELDS = ("transaction_id", "user_id", "product_category", "payment_method", "amount", "_partition", "_offset")


def test_sums_are_exact_where_a_float_would_lose_cents(spark: SparkSession, tmp_path: Path) -> None:
    """With every sale of which another one says the same id, as no producer should: the first in Kafka counts."""
    chance = random.Random(14)
    sales = [
        (
            f"t-{number % 4000}",
            f"user_{chance.randrange(900)}",
            chance.choice(["Home", "Beauty", "Toys"]),
            chance.choice(["paypal", "cash"]),
            Decimal(chance.randrange(10**15)) / 100,
            number % 6,
            number,
        )
        for number in range(5000)
    ]
    counted: dict[str, tuple[Any, ...]] = {}
    for sale in sorted(sales, key=lambda each: each[5:], reverse=True):
        counted[sale[0]] = sale
    columns = dict(zip(FIELDS, zip(*sales, strict=True), strict=True))
    types = {"amount": pa.decimal128(18, 2), "_partition": pa.int32(), "_offset": pa.int64()}
    file = tmp_path / "extract.parquet"
    pq.write_table(pa.table({name: pa.array(of, types.get(name)) for name, of in columns.items()}), file)

    rows = spark.read.parquet(f"file:{file}").repartition(4)
    made = report_of(rows, stream=stream_named("transactions"), window=MINUTE, source="x").model_dump()

    unique = list(counted.values())
    assert (made["rows_read"], made["total_events"]) == (5000, 4000)
    assert made["total_sales"] == sum(sale[4] for sale in unique)
    assert float(made["total_sales"]) != sum(float(sale[4]) for sale in unique), "a float would do as well"
    assert made["largest_sale"] == max(sale[4] for sale in unique)
    assert made["unique_users"] == len({sale[1] for sale in unique})
    for place, by in ((2, "category"), (3, "payment_method")):
        known = {name: value for name, value in made[f"transactions_by_{by}"].items() if value}
        assert known == Counter(sale[place] for sale in unique)
        assert made[f"sales_by_{by}"] == {
            name: sum((sale[4] for sale in unique if sale[place] == name), Decimal("0.00"))
            for name in made[f"transactions_by_{by}"]
        }
