from __future__ import annotations

from dashboard.api.metrics import Recent


def test_the_last_five_minutes_are_what_is_summed() -> None:
    now = [1000.0]
    recent = Recent(lambda: now[0])
    assert (recent.error_ratio, recent.slowest_query) == (0.0, 0.0)

    for status in (200, 304, 404, 503):
        recent.request(status)
    recent.query(0.2)
    recent.query(1.5)
    assert (recent.error_ratio, recent.slowest_query) == (0.25, 1.5)

    now[0] += 280
    recent.request(500)
    recent.query(0.1)
    assert (recent.error_ratio, recent.slowest_query) == (0.4, 1.5)

    now[0] += 20
    assert (recent.error_ratio, recent.slowest_query) == (1.0, 0.1)
    now[0] += 300
    assert (recent.error_ratio, recent.slowest_query) == (0.0, 0.0)


def test_however_long_it_runs_it_keeps_as_much() -> None:
    now = [0.0]
    recent = Recent(lambda: now[0])
    for second in range(10_000):
        now[0] = float(second)
        recent.request(200)
    assert len(recent._slices) == 30
