"""The part `alerts` on a real PostgreSQL, telling a mail server and a web hook: each start and each end once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from etar.alerts.board import read_board
from etar.alerts.silences import lift, silence
from etar.alerts.states import AlertState
from etar.alerts.targets import Message, Sending
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings, get_settings
from stack.parts import Stack
from tests.alert_looks import Looks, a_silence, rules
from tests.conftest import running_part
from tests.integration.alerts.conftest import PASSWORD, Hook, MailServer
from tests.integration.dashboard.test_store_away import suspended

START = "etar: MinutesGivenUp of rides"
END = "etar: over: MinutesGivenUp of rides"
AWAY = "etar: ReportStoreAway"
BACK = "etar: over: ReportStoreAway"


@pytest.fixture
def told(hook: Hook, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """Both places are targets."""
    monkeypatch.setenv("ETAR_ALERTS_TARGETS", f"{mail_server.address} {hook.address}")
    get_settings.cache_clear()
    return ("mail", "hook")


def deliveries(store: ReportStoreSettings) -> list[tuple[str, str, bool, bool, str | None]]:
    """Kind, target, whether it was sent, whether it is in doubt, and its problem; in their order."""
    with report_store_connection(store) as connection:
        return connection.execute(
            "SELECT kind, target, sent_at IS NOT NULL, begun_at IS NOT NULL, problem "
            "FROM alert_deliveries JOIN alert_notices ON id = notice ORDER BY at, target"
        ).fetchall()


def state(store: ReportStoreSettings, alert: str = "MinutesGivenUp") -> AlertState:
    with report_store_connection(store) as connection:
        (found,) = [each for each in read_board(connection).alerts if each.alert == alert]
    return found.state


def test_start_and_end_come_once_by_mail_and_by_web_hook(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook, mail_server: MailServer
) -> None:
    looks = Looks(empty_store, told=told)
    for given_up in (0, 2, 2, 3, 0, 0):
        looks.look(given_up)

    assert hook.titles == [START, END]
    assert hook.told[0].body.startswith("2 minutes of rides were given up.\nSince ")
    assert hook.told[0].body.endswith("What to do: press `etar status`")
    assert [mail["subject"] for mail in mail_server.mails] == [START, END]
    assert mail_server.mails[0]["to"] == "team@example.org"
    text = mail_server.mails[0].get_body(("plain",))
    assert text is not None
    assert text.get_content().splitlines()[0::2] == [
        "2 minutes of rides were given up.",
        "What to do: press `etar status`",
    ]
    assert deliveries(empty_store) == [
        ("start", "hook", True, False, None),
        ("start", "mail", True, False, None),
        ("end", "hook", True, False, None),
        ("end", "mail", True, False, None),
    ]
    assert state(empty_store) is AlertState.WELL
    looks.watch.close()


def test_over_restarts_nothing_is_told_twice_and_the_end_is_told_by_whoever_sees_it(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook
) -> None:
    for given_up in (2, 2, 0, 0):
        looks = Looks(empty_store, told=told)
        looks.look(given_up)
        looks.watch.close()
    assert hook.titles == [START, END]


def test_the_time_that_a_condition_has_held_goes_on_over_a_restart(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook
) -> None:
    first = Looks(empty_store, told=told, rules=rules(given_up="1m"))
    first.look(2)
    first.look(2, after=40)
    first.watch.close()
    second = Looks(empty_store, told=told, rules=rules(given_up="1m"), now=first.now)
    second.given_up = 2
    second.look(after=15)
    assert hook.titles == []
    second.look()
    assert hook.titles == [START]
    second.watch.close()


def test_a_target_that_is_away_is_tried_again_and_the_other_is_not_told_twice(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook, mail_server: MailServer
) -> None:
    looks = Looks(empty_store, told=told)
    hook.status = 503
    looks.look(2)
    looks.look(0, after=1)
    assert [mail["subject"] for mail in mail_server.mails] == [START, END]
    assert hook.titles == []
    by_hook = [each for each in deliveries(empty_store) if each[1] == "hook"]
    assert [each[2:4] for each in by_hook] == [(False, False), (False, False)]
    assert "503" in (by_hook[0][4] or "")
    looks.watch.close()

    # Another process goes on with them, in their order.
    again = Looks(empty_store, told=told, now=looks.now)
    again.look()
    assert hook.titles == []
    hook.status = 200
    for _ in range(3):
        again.look(after=10)
    assert hook.titles == [START, END]
    assert len(mail_server.mails) == 2
    assert "you have this already" not in hook.told[0].body
    again.watch.close()


def test_what_cannot_be_told_is_given_up_after_a_day_and_at_once_where_the_target_is_gone(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook
) -> None:
    hook.status = 500
    looks = Looks(empty_store, told=["hook", "nobody"])
    looks.look(2)
    looks.watch.close()
    fewer = Looks(empty_store, told=["hook"], now=looks.now)
    fewer.look(2)
    fewer.look(2, after=86_400)
    hook.status = 200
    fewer.look(2, after=600)
    assert hook.titles == []
    assert [each[2:4] for each in deliveries(empty_store)] == [(False, False), (False, False)]
    fewer.watch.close()


def test_a_silenced_alert_is_shown_and_told_to_nobody_until_it_is_lifted(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook
) -> None:
    looks = Looks(empty_store, told=told)
    with report_store_connection(empty_store) as connection:
        connection.autocommit = True
        made = a_silence("MinutesGivenUp", stream="rides", now=looks.now)
        silence(connection, made)
        looks.look(2)
        board = read_board(connection)
        (shown,) = [each for each in board.alerts if each.alert == "MinutesGivenUp"]
        assert (shown.state, shown.silence, shown.speaks) == (AlertState.FIRING, made, False)
        assert hook.titles == []
        assert lift(connection, "MinutesGivenUp", stream=None, now=looks.now) == 0
        assert lift(connection, "MinutesGivenUp", stream="rides", now=looks.now) == 1
    looks.look(2)
    looks.look(0)
    assert hook.titles == [START, END]
    looks.watch.close()


def test_without_targets_the_state_is_kept_and_nobody_is_told_later(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook
) -> None:
    quiet = Looks(empty_store)
    quiet.look(2)
    assert state(empty_store) is AlertState.FIRING
    quiet.watch.close()
    # Who comes later is told of what begins and ends from then on.
    later = Looks(empty_store, told=told, now=quiet.now)
    later.look(2)
    assert hook.titles == []
    later.look(0)
    assert hook.titles == [END]
    later.watch.close()


def test_that_the_store_is_away_is_told_from_memory_and_written_down_when_it_is_back(
    own_stack: Stack, told: Sequence[str], hook: Hook
) -> None:
    store = own_stack.settings.of(ReportStoreSettings)
    looks = Looks(store, told=told)
    with running_part("postgres", own_stack):
        looks.look(2)
        assert hook.titles == [START]
    looks.look(0)
    looks.look(0)
    # What the store would say now nobody knows: no end of the other one.
    assert hook.titles == [START, AWAY]
    with running_part("postgres", own_stack):
        looks.look(0)
        assert sorted(hook.titles[2:]) == sorted([BACK, END])
        looks.look(0)
        assert len(hook.told) == 4
        assert [each[0] for each in deliveries(store) if each[1] == "hook" and each[2]] == ["start"] * 2 + ["end"] * 2
        assert state(store, "ReportStoreAway") is AlertState.WELL
        looks.watch.close()


def test_a_process_that_begins_while_the_store_is_away_goes_on_with_what_the_store_has(
    own_stack: Stack, told: Sequence[str], hook: Hook
) -> None:
    store = own_stack.settings.of(ReportStoreSettings)
    with running_part("postgres", own_stack):
        first = Looks(store, told=told)
        first.look(2)
        first.watch.close()
    second = Looks(store, told=told, now=first.now)
    second.look()
    assert hook.titles == [START, AWAY]
    with running_part("postgres", own_stack):
        second.look(2)
        assert hook.titles == [START, AWAY, BACK]
        second.look(0)
        assert hook.titles == [START, AWAY, BACK, END]
        second.watch.close()


def test_a_store_that_takes_connections_and_never_answers_is_away(
    own_stack: Stack, told: Sequence[str], hook: Hook
) -> None:
    store = own_stack.settings.of(ReportStoreSettings)
    with running_part("postgres", own_stack) as pid:
        looks = Looks(store, told=told, store_seconds=1.0)
        looks.look(0)
        with suspended(pid):
            looks.look()
            assert hook.titles == [AWAY]
        looks.look(0)
        looks.look(0)
        assert hook.titles == [AWAY, BACK]
        looks.watch.close()


def test_of_two_processes_one_looks_and_the_other_takes_over_when_it_ends(
    empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook
) -> None:
    first, second = Looks(empty_store, told=told), Looks(empty_store, told=told)
    first.look(2)
    second.look(2)
    assert hook.titles == [START]
    first.watch.close()
    second.look(0)
    assert hook.titles == [START, END]
    second.watch.close()


def test_a_stop_waits_for_what_is_being_sent(empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook) -> None:
    started: list[Sending] = []

    def send(messages: Sequence[Message]) -> Sending:
        started.append(Sending(messages))
        return started[-1]

    looks = Looks(empty_store, told=told, send=send)
    looks.given_up = 2
    looks.watch.look()
    looks.watch.close()
    assert len(started) == 1
    assert hook.titles == [START]
    assert {each[2:4] for each in deliveries(empty_store)} == {(True, False)}


def test_nothing_in_the_store_has_an_address(empty_store: ReportStoreSettings, told: Sequence[str], hook: Hook) -> None:
    hook.status = 401
    looks = Looks(empty_store, told=told)
    looks.look(2)
    looks.watch.close()
    with report_store_connection(empty_store) as connection:
        kept = [
            str(connection.execute(f"SELECT array_agg(each::text) FROM {table} AS each".encode()).fetchall())
            for table in ("alerts", "alert_notices", "alert_deliveries", "alert_look")
        ]
    assert "mail" in kept[2]
    assert not [text for text in kept if PASSWORD in text]
