from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import Request

from dashboard.api.pages import next_page

FIRST = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


def request(query: str = "limit=2") -> Request:
    return Request({"type": "http", "path": "/x", "headers": [], "query_string": query.encode(), "server": ("a", 80)})


@pytest.mark.parametrize(
    ("oldest", "to"),
    [(FIRST, "2026-11-21T10%3A31Z"), (FIRST + MOMENT, "2026-11-21T10%3A31%3A00.000001%2B00%3A00")],
)
def test_the_next_page_ends_where_this_one_begins(oldest: datetime, to: str) -> None:
    page = next_page(request(), None, 2, [oldest, FIRST + timedelta(minutes=1)])
    assert page == {"Link": f'<?limit=2&to={to}>; rel="next"'}


@pytest.mark.parametrize(
    ("first", "starts"),
    [(None, []), (None, [FIRST]), (FIRST, [FIRST, FIRST + MOMENT])],
    ids=["empty", "not full", "from its begin on"],
)
def test_where_there_is_nothing_earlier_there_is_no_next_page(first: datetime | None, starts: list[datetime]) -> None:
    assert next_page(request(), first, 2, starts) == {}


def test_more_than_the_limit_is_full_too() -> None:
    assert next_page(request(), None, 2, [FIRST, FIRST, FIRST])
