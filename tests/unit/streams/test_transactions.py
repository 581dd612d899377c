"""The stream of sales: its report adds up to the cent or is refused, and what is made up is what a shop sells."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from etar.minute import MinuteWindow
from etar.rows.blocks import plain_values
from etar.stream_code import load, report_model
from etar.streams import stream_named
from streams.transactions.catalogue import CATEGORIES, PRODUCTS
from streams.transactions.report import PAYMENT_METHODS
from streams.transactions.traffic import Traffic

STREAM = stream_named("transactions")
Report = report_model(STREAM)
MINUTE = MinuteWindow.parse("2026-11-21T10:31Z")
START = 1_763_717_460_000
VALID: dict[str, Any] = {
    "minute": MINUTE.start,
    "total_events": 3,
    "total_sales": "100.03",
    "largest_sale": "50.02",
    "unique_users": 2,
    "sales_by_category": {"Home": "50.01", "Toys": "50.02"},
    "transactions_by_category": {"Home": 2, "Toys": 1},
    "sales_by_payment_method": {"paypal": "100.03"},
    "transactions_by_payment_method": {"paypal": 3},
    "rows_read": 4,
    "source_object": "s3a://etar/extracts/transactions/2026-11-21_10-31.parquet",
}


def test_json_takes_a_report_there_and_back_with_amounts_as_texts_of_cents() -> None:
    report = Report.model_validate(VALID | {"total_sales": Decimal("100.030")})
    written = json.loads(report.model_dump_json())
    assert written["total_sales"] == "100.03"
    assert written["sales_by_category"] == {"Home": "50.01", "Toys": "50.02"}
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(
    ("sales", "events", "average"),
    [("100.03", 3, "33.34"), ("20.01", 2, "10.01"), ("20.03", 2, "10.02"), ("0.00", 0, "0.00")],
)
def test_the_average_is_of_whole_cents_a_half_upwards(sales: str, events: int, average: str) -> None:
    by = {
        f"{what}_by_{key}": {"x": value}
        for key in ("category", "payment_method")
        for what, value in (("sales", sales), ("transactions", events))
    }
    report = Report.model_validate(VALID | {"total_sales": sales, "total_events": events} | by)
    written = json.loads(report.model_dump_json())
    assert written["average_sale"] == average
    assert json.loads(Report.model_validate(written | {"average_sale": "1.00"}).model_dump_json()) == written


def test_an_empty_minute_has_every_category_and_payment_method_at_zero() -> None:
    empty = json.loads(Report.empty(MINUTE, stream="transactions").model_dump_json())
    assert empty["sales_by_category"] == dict.fromkeys(CATEGORIES, "0.00")
    assert empty["transactions_by_category"] == dict.fromkeys(CATEGORIES, 0)
    assert empty["sales_by_payment_method"] == dict.fromkeys(PAYMENT_METHODS, "0.00")
    assert (empty["total_sales"], empty["average_sale"], empty["largest_sale"]) == ("0.00", "0.00", "0.00")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"total_sales": "100.04"}, "sales_by_category come to 100.03, not 100.04", id="a cent too much"),
        pytest.param(
            {"sales_by_payment_method": {"paypal": "100.02"}},
            "sales_by_payment_method come to 100.02, not 100.03",
            id="a cent too little",
        ),
        pytest.param({"total_events": 2}, "transactions_by_category come to 3, not 2", id="fewer events"),
        pytest.param({"transactions_by_category": {"Home": 3}}, "other entries by category", id="a category less"),
        pytest.param({"total_sales": "100.031"}, "no more than 2 decimal places", id="parts of a cent"),
        pytest.param({"largest_sale": "-1.00"}, "greater than or equal to 0", id="negative"),
        pytest.param({"total_sales": "NaN"}, "finite number", id="not a number"),
        pytest.param({"rows_read": 2}, "more than rows_read 2", id="more events than rows"),
        pytest.param({"revenue": 1}, "Extra inputs are not permitted", id="unknown field"),
    ],
)
def test_what_does_not_add_up_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Report.model_validate(VALID | change)


def test_the_headline_has_what_was_sold() -> None:
    assert Report.model_validate(VALID).headline() == "3 events, 100.03 in sales, 2 users"


def test_the_schema_the_checks_and_the_report_have_the_same_lists() -> None:
    assert STREAM.checks["product_category"].one_of == CATEGORIES
    assert STREAM.checks["payment_method"].one_of == PAYMENT_METHODS
    assert load(STREAM, "traffic:PAYMENT_METHODS") == PAYMENT_METHODS


@pytest.mark.parametrize("size", [1, 7, 999])
def test_however_many_are_asked_for_at_a_time_they_are_the_same(size: int) -> None:
    instants = START + np.arange(2000) * 10
    traffic = Traffic(seed=1, worker=0, rate=100)
    parts = [row for at in range(0, 2000, size) for row in made(traffic, instants[at : at + size])]
    assert parts == made(Traffic(seed=1, worker=0, rate=100), instants)


def test_what_is_made_up_is_of_every_category_and_of_many_amounts() -> None:
    sold = made(Traffic(seed=7, worker=0, rate=100), START + np.arange(20_000))
    amounts = [sale["amount"] for sale in sold]
    assert (min(amounts), max(amounts)) == (Decimal("10.00"), Decimal("999.99"))
    assert len({int(amount * 100) % 100 for amount in amounts}) == 100, "any number of cents"
    assert {(sale["product_category"], sale["product_name"]) for sale in sold} == {
        (category, product) for category, products in PRODUCTS.items() for product in products
    }
    paid = Counter(sale["payment_method"] for sale in sold)
    assert paid["credit_card"] > paid["debit_card"] > paid["paypal"] > 2000
    assert {sale["transaction_id"].version for sale in sold} == {4}
    assert len({sale["transaction_id"] for sale in sold}) == len(sold)


def test_another_seed_or_worker_makes_other_sales() -> None:
    instants = START + np.arange(100)
    runs = [
        {sale["transaction_id"] for sale in made(Traffic(seed=seed, worker=worker, rate=1), instants)}
        for seed, worker in ((1, 0), (2, 0), (1, 1))
    ]
    assert len(set.union(*runs)) == 300


def made(traffic: Traffic, instants: Any) -> list[dict[str, Any]]:
    block = traffic.block(instants)
    columns = [plain_values(column) for column in block.values()]
    return [dict(zip(block, row, strict=True)) for row in zip(*columns, strict=True)]
