from __future__ import annotations

import json
import logging
import sys

from dashboard.api.logs import JsonLines


def record(message: str, *args: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("dashboard.api", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(attributes)
    return made


def test_a_record_is_one_line_of_json_with_what_extra_gave() -> None:
    line = JsonLines().format(record("report\n%s", "published", minute="2025-11-21T10:31Z", revision=2))

    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("+00:00")
    assert parsed == {
        "level": "info",
        "logger": "dashboard.api",
        "message": "report\npublished",
        "minute": "2025-11-21T10:31Z",
        "revision": 2,
    }


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        line = JsonLines().format(record("failed", exc_info=sys.exc_info()))

    assert "\n" not in line
    assert "RuntimeError: boom" in json.loads(line)["traceback"]
