from __future__ import annotations

from datetime import timedelta

from dashboard.ui import figures
from etar.minute import MinuteWindow
from etar.report import PublishedReport
from tests.unit.dashboard.samples import MINUTE, a_published_report


def test_success_and_error_differ_in_lightness_not_only_in_hue() -> None:
    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: float, other: float) -> float:
        return (max(one, other) + 0.05) / (min(one, other) + 0.05)

    success, error = luminance(figures.SUCCESS), luminance(figures.ERROR)
    white, dark = luminance("#FFFFFF"), luminance("#0E1117")
    assert error > success * 1.3
    # WCAG 2.2, 1.4.11: graphics need 3:1 against what they lie on.
    assert min(contrast(color, ground) for color in (success, error) for ground in (white, dark)) >= 3


def test_recent_is_the_span_that_ends_with_the_newest_minute() -> None:
    def minutes_before(count: int) -> PublishedReport:
        return a_published_report(MinuteWindow(MINUTE.start - timedelta(minutes=count)))

    reports = [minutes_before(count) for count in (9000, 4, 3, 2, 0)]

    assert figures.recent(reports, timedelta(minutes=4)) == [minutes_before(3), minutes_before(2), minutes_before(0)]
    assert figures.recent([], timedelta(minutes=4)) == []
