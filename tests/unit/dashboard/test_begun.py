from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.exceptions import RequestValidationError

from dashboard.api.routes.reports import require_begun
from tests.unit.dashboard.samples import MINUTE


@pytest.mark.parametrize(
    "since_start",
    [timedelta(0), timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=400)],
)
def test_a_minute_that_has_begun_may_have_a_report(since_start: timedelta) -> None:
    require_begun(MINUTE, MINUTE.start + since_start)


@pytest.mark.parametrize("until_start", [timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=400)])
def test_a_minute_that_has_not_begun_is_refused_with_the_api_s_time(until_start: timedelta) -> None:
    now = MINUTE.start - until_start

    with pytest.raises(RequestValidationError) as refused:
        require_begun(MINUTE, now)

    (part,) = refused.value.errors()
    assert part["loc"] == ("body", "minute")
    assert "2025-11-21T10:31Z has not begun" in part["msg"]
    assert f"{now:%Y-%m-%dT%H:%M:%SZ} by the API's clock" in part["msg"]
