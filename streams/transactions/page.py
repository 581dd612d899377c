"""What the page shows of a minute's sales."""

from __future__ import annotations

from etar.page import Bars, Form, Line, Lines, Metric

from .catalogue import CATEGORIES
from .report import PAYMENT_METHODS

METRICS = (
    Metric("total_sales", "Sales", Form.DECIMAL, "All amounts of the minute"),
    Metric("total_events", "Transactions", about="Unique ones: one that was sent twice counts once"),
    Metric("average_sale", "Average sale", Form.DECIMAL, "Sales / transactions, to the cent"),
    Metric("largest_sale", "Largest sale", Form.DECIMAL),
    Metric("unique_users", "Unique users", about="Different users with at least one transaction"),
)
CHARTS = (
    Bars("Newest minute's sales by category", "sales_by_category", order=CATEGORIES, form=Form.DECIMAL),
    Bars("Transactions by category", "transactions_by_category", order=CATEGORIES),
    Bars("Sales by payment method", "sales_by_payment_method", order=PAYMENT_METHODS, form=Form.DECIMAL),
    Bars("Transactions by payment method", "transactions_by_payment_method", order=PAYMENT_METHODS),
    Lines((Line("total_sales", "Sales a minute", Form.DECIMAL), Line("total_events", "Transactions a minute"))),
)
