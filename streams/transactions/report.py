"""What a minute of sales comes to: how much was sold, of what and paid how, to the cent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, computed_field, model_validator
from pydantic.config import JsonDict

from etar.minute import MinuteWindow
from etar.report import Count, MinuteReport

from .catalogue import CATEGORIES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PAYMENT_METHODS = ("credit_card", "debit_card", "paypal")

_CENT = Decimal("0.01")
_NOTHING = Decimal("0.00")


def _to_the_cent(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT)


Money = Annotated[Decimal, Field(ge=0, decimal_places=2, max_digits=28), AfterValidator(_to_the_cent)]
"""As JSON a text with two digits after the point, ``"1234.50"``."""

_EXAMPLE: JsonDict = {
    "schema_version": 1,
    "stream": "transactions",
    "minute": "2026-11-21T10:31:00Z",
    "total_events": 4,
    "total_sales": "1349.48",
    "largest_sale": "999.99",
    "unique_users": 3,
    "sales_by_category": {
        "Electronics": "1199.98",
        "Fashion": "0.00",
        "Beauty": "0.00",
        "Home": "0.00",
        "Sports": "149.50",
        "Grocery": "0.00",
    },
    "transactions_by_category": {
        "Electronics": 2,
        "Fashion": 0,
        "Beauty": 0,
        "Home": 0,
        "Sports": 2,
        "Grocery": 0,
    },
    "sales_by_payment_method": {"credit_card": "999.99", "debit_card": "149.50", "paypal": "199.99"},
    "transactions_by_payment_method": {"credit_card": 1, "debit_card": 2, "paypal": 1},
    "rows_read": 5,
    "source_object": "s3://etar/extracts/transactions/2026-11-21_10-31.parquet",
}


class Report(MinuteReport):
    """Unique transactions of one minute and what they come to, by category and by payment method."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    schema_version: Literal[1] = 1
    stream: str = Field(default="transactions", min_length=1, max_length=200)
    total_sales: Money = _NOTHING
    largest_sale: Money = _NOTHING
    unique_users: Count = 0
    sales_by_category: dict[str, Money] = Field(default_factory=lambda: dict.fromkeys(CATEGORIES, _NOTHING))
    transactions_by_category: dict[str, Count] = Field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0))
    sales_by_payment_method: dict[str, Money] = Field(default_factory=lambda: dict.fromkeys(PAYMENT_METHODS, _NOTHING))
    transactions_by_payment_method: dict[str, Count] = Field(default_factory=lambda: dict.fromkeys(PAYMENT_METHODS, 0))

    @computed_field(description="total_sales / total_events, to the cent; 0.00 for an empty minute")  # type: ignore[prop-decorator]
    @property
    def average_sale(self) -> Decimal:
        if not self.total_events:
            return _NOTHING
        return (self.total_sales / self.total_events).quantize(_CENT, ROUND_HALF_UP)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        for by, sales, transactions in (
            ("category", self.sales_by_category, self.transactions_by_category),
            ("payment_method", self.sales_by_payment_method, self.transactions_by_payment_method),
        ):
            if sales.keys() != transactions.keys():
                raise ValueError(f"sales and transactions are of other entries by {by}")
            if sum(transactions.values()) != self.total_events:
                raise ValueError(f"transactions_by_{by} come to {sum(transactions.values())}, not {self.total_events}")
            if sum(sales.values()) != self.total_sales:
                raise ValueError(f"sales_by_{by} come to {sum(sales.values())}, not {self.total_sales}")
        return self

    @classmethod
    def of_row(cls, row: Mapping[str, Any], *, window: MinuteWindow, stream: str, source: str) -> Self:
        """As ever, but a known category or payment method of which nothing was sold has zeros."""
        whole = {
            f"{what}_by_{by}": dict.fromkeys(known, nothing) | row[f"{what}_by_{by}"]
            for what, nothing in (("sales", _NOTHING), ("transactions", 0))
            for by, known in (("category", CATEGORIES), ("payment_method", PAYMENT_METHODS))
        }
        return super().of_row({**row, **whole}, window=window, stream=stream, source=source)

    def headline(self) -> str:
        """``1,234 events, 567,890.12 in sales, 431 users``."""
        return f"{super().headline()}, {self.total_sales:,} in sales, {self.unique_users:,} users"


def transform(events: DataFrame) -> DataFrame:
    """What one minute's events come to, as exactly one row, also for no events at all.

    Args:
        events: ``transaction_id`` and ``user_id`` (any comparable type), ``product_category``, ``payment_method``,
            ``amount`` (decimal of two digits after the point), ``_partition``, ``_offset``; more columns are ignored.
            An event that stands in several rows counts once, as the row with the lowest partition and offset has it.

    Returns:
        ``rows_read``, ``total_events``, ``unique_users``: long; ``total_sales``, ``largest_sale``: decimal;
        ``sales_by_…``: ``map<string, decimal>`` and ``transactions_by_…``: ``map<string, long>`` with what occurs.
    """
    from pyspark.sql import functions as F

    by = {"category": "product_category", "payment_method": "payment_method"}
    own = ("user_id", "amount", *by.values())
    unique = (
        events.groupBy("transaction_id")
        .agg(F.min_by(F.struct(*own), F.struct("_partition", "_offset")).alias("event"), F.count("*").alias("rows"))
        .select("event.*", "rows")
    )
    # One pass over the events for both and the total: a grouping id has a bit for each column that is not grouped by.
    grouped = unique.groupingSets([[column] for column in by.values()] + [[]], *by.values()).agg(
        F.grouping_id().alias("grouping"),
        F.sum("rows").alias("rows"),
        F.count("*").alias("events"),
        F.sum("amount").alias("sales"),
        F.max("amount").alias("largest"),
        F.count_distinct("user_id").alias("users"),
    )
    total = F.col("grouping") == 3
    entries = {"category": F.col("grouping") == 1, "payment_method": F.col("grouping") == 2}
    # The aggregate over all rows gives one row even where the grouping has none: for no events.
    return grouped.agg(
        *(
            F.coalesce(F.max(F.when(total, F.col(column))), F.lit(0)).alias(name)
            for column, name in (
                ("rows", "rows_read"),
                ("events", "total_events"),
                ("users", "unique_users"),
                ("sales", "total_sales"),
                ("largest", "largest_sale"),
            )
        ),
        *(
            F.map_from_entries(F.collect_list(F.when(entries[name], F.struct(by[name], column)))).alias(
                f"{what}_by_{name}"
            )
            for name in by
            for column, what in (("sales", "sales"), ("events", "transactions"))
        ),
    )
