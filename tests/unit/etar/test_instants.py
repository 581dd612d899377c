from __future__ import annotations

from datetime import datetime

import pytest

from etar.instants import utc_text


@pytest.mark.parametrize(
    ("instant", "unit", "text"),
    [
        ("2026-11-21T11:31:06+01:00", None, "2026-11-21T10:31:06.000Z"),
        ("2026-11-21T10:31:06.25+00:00", None, "2026-11-21T10:31:06.250Z"),
        ("2026-11-21T10:31:06.250001+00:00", None, "2026-11-21T10:31:06.250001Z"),
        ("2026-11-21T10:31:06.250999+00:00", "milliseconds", "2026-11-21T10:31:06.250Z"),
        ("2026-11-21T10:31:06.25+00:00", "seconds", "2026-11-21T10:31:06Z"),
    ],
)
def test_an_instant_is_written_in_utc(instant: str, unit: str | None, text: str) -> None:
    assert utc_text(datetime.fromisoformat(instant), unit) == text
