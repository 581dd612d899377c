"""What the page of the system says of alerts, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboard.ui.system_view import line, summary
from etar.alerts.board import ShownAlert
from etar.alerts.states import AlertState, Silence

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def alert(state: AlertState, *, silenced: bool = False) -> ShownAlert:
    quiet = Silence(
        alert="SinkBehind", stream=None, begun_at=NOON, until=NOON + timedelta(hours=2), why="known", by="me"
    )
    return ShownAlert(
        alert="SinkBehind",
        labels={"stream": "rides"},
        state=state,
        since=NOON,
        value=17,
        severity="critical",
        summary="17 records wait",
        description="Press this",
        expr="etar_sink_overdue_records > 0",
        silence=quiet if silenced else None,
    )


def test_all_is_well_only_where_every_alert_is_known_and_well() -> None:
    firing, well = alert(AlertState.FIRING), alert(AlertState.WELL)
    assert summary([well, well]) == ":green[**All well**]"
    assert "All well" not in summary([])
    assert summary([well, alert(AlertState.NO_DATA)]) == ":orange[1 without data]"
    assert summary([well, alert(AlertState.PENDING)]) == ":orange[1 pending]"
    assert summary([firing, alert(AlertState.FIRING, silenced=True), well]) == ":red[**2 firing**] (1 silenced)"


def test_what_fires_says_since_when_what_to_press_and_that_it_is_silenced() -> None:
    assert line(alert(AlertState.FIRING, silenced=True)) == (
        "**SinkBehind** rides since 2026-11-21 12:00:00 UTC `etar_sink_overdue_records > 0`: 17  \n"
        "17 records wait. Press this  \n"
        ":gray[Silenced until 2026-11-21 14:00:00 UTC by me: known]"
    )
    assert line(alert(AlertState.WELL)) == "**SinkBehind** rides `etar_sink_overdue_records > 0`"
