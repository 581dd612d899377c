"""What `etar verify` prints."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.verify import render
from etar.minute import MINUTE, MinuteWindow
from etar.offsets import Span
from etar.report import PublishedReport
from etar.streams import DEFAULT_STREAM, Stream, default_stream
from etar.verify.compare import Verification, backfill, compare, report_again
from etar.verify.facts import Coverage, GoneRows, MinuteInPlaces, PartitionFacts, Sent, TotalsFacts
from etar.verify.windows import WindowAccount, WindowNumbers
from tests.interactions import Report

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
GAP = MinuteInPlaces(WINDOW, rows=0, unique=0, dead_letters=0, parquet=None, report=None, ledger=None)
WHOLE = Coverage(Span(1_000, 2_234), in_table=1_230, in_dead_letters=4, in_both=0)
TOTALS = TotalsFacts(WINDOW.start, WINDOW.end, records=1_234, rows=1_230, events=1_200, bad=4)


def printed(verification: Verification) -> str:
    out = StringIO()
    render(verification, Console(file=out))
    return out.getvalue()


def account(
    facts: MinuteInPlaces = GAP, coverage: Coverage = WHOLE, totals: TotalsFacts = TOTALS, sent: Sent | None = None
) -> Verification:
    return compare(
        [facts],
        [PartitionFacts(3, coverage, sent)],
        totals,
        stream=default_stream(),
        in_doubt=2,
        stale_before=WINDOW.end,
    )


def line_with(text: str, verification: Verification) -> str:
    (line,) = [line for line in printed(verification).splitlines() if text in line]
    return line


def test_a_gap_is_shown_with_the_commands_that_fill_it() -> None:
    verification = account()
    text = printed(verification)
    again = """airflow dags trigger etar_reconcile --conf '{"minutes": ["2026-11-21T10:31Z"]}'"""
    assert f"minute 2026-11-21T10:31Z: no report; report it again: {again}\n" in text
    assert "`etar exec airflow …`" in line_with("`airflow …` is run as", verification)
    assert "difference: 1\n" in text
    assert text.endswith("repair: etar verify --repair --from 2026-11-21T10:31Z --to 2026-11-21T10:32Z\n")


def test_an_exact_account_says_so_last() -> None:
    report = PublishedReport(
        **Report.empty(WINDOW, stream="user_interactions").model_dump(mode="json"), revision=1, published_at=WINDOW.end
    )
    verification = account(replace(GAP, report=report))
    exact = verification.model_copy(
        update={"minutes": (verification.minutes[0].model_copy(update={"difference": 0, "note": None}),)}
    )
    assert printed(exact).endswith("exact: 1 minutes, every record accounted for\n")
    assert "`airflow …`" not in printed(exact)


def test_live_windows_stand_beside_their_reports_and_are_part_of_the_result() -> None:
    numbers = WindowNumbers(streamed=1, now=3, report=3, corrected=2, difference=0)
    window = WindowAccount(
        window=WINDOW.start, final=True, revision=2, numbers={"rides": numbers}, difference=0, note=None
    )
    whole = compare([], [], TOTALS, [window], stream=default_stream(), stale_before=WINDOW.end)
    report = account().minutes[0].model_copy(update={"difference": 0, "note": None})
    well = whole.model_copy(update={"minutes": (report,)})
    off = well.model_copy(
        update={"windows": (window.model_copy(update={"difference": 4, "note": "Oslo is not final"}),)}
    )

    assert (well.ok, off.ok, off.difference) == (True, False, 4)
    for heading in ("Live windows, stream beside report", "rides streamed", "rides report", "corrected"):
        assert heading.split()[-1] in printed(well)
    assert "2026-11-21T10:31Z  final" in printed(well)
    assert printed(well).endswith("exact: 1 minutes, every record accounted for, 1 live windows as their reports\n")
    assert "window 2026-11-21T10:31Z: Oslo is not final\n" in printed(off)
    assert "difference: 4\n" in printed(off)


def test_rows_that_were_lost_have_a_column_while_there_are_some() -> None:
    assert "lost" not in printed(account()).partition("Kafka's offsets")[0]
    minutes, _, _ = printed(account(replace(GAP, gone=GoneRows(7, {3: 1_000})))).partition("Kafka's offsets")
    assert "lost" in minutes
    assert " 7 " in minutes


def test_columns_that_are_seldom_used_are_shown_when_they_are() -> None:
    assert "past retention" not in printed(account()).replace("\n", " ")
    seldom = printed(account(coverage=replace(WHOLE, in_table=1_000, closed=228, no_record=2)))
    assert "228" in seldom
    assert "retention" in seldom
    assert "acknowledged" not in seldom
    claimed = printed(account(sent=Sent(1_200, 1_234, replays=33)))
    assert "acknowledged" in claimed
    assert "replays" in claimed


def test_the_totals_are_one_equation() -> None:
    assert line_with("totals", account()) == (
        "totals, arrived 2026-11-21T10:31:00Z to 2026-11-21T10:32:00Z: 1,234 records = 1,200 events in reports + "
        "30 duplicates + 0 too late + 4 bad records"
    )


def test_the_totals_of_a_producers_run_begin_with_what_was_acknowledged() -> None:
    totals = replace(TOTALS, acknowledged=1_200, replays=33, rows=1_190, events=1_160, closed=30, replayed=9, bad=2)
    line = line_with("totals", account(totals=totals, sent=Sent(1_200, 1_234, replays=33)))
    assert line.endswith(
        ": 1,200 acknowledged + 1 in doubt + 33 replays = 1,160 events in reports + 30 duplicates + 0 too late + "
        "2 bad records + 9 replayed + 30 past retention, difference +3"
    )


def test_without_a_settled_minute_there_is_nothing_to_compare() -> None:
    verification = compare([], [], TOTALS, stream=default_stream(), stale_before=WINDOW.end)
    assert printed(verification) == "no minute is settled and reported yet; try again in two minutes\n"


def test_what_may_cost_records_to_come_is_told_whether_there_are_minutes_or_not() -> None:
    warned = account().model_copy(update={"warnings": ("the topic has retention.bytes=1",)})
    for each in (warned, warned.model_copy(update={"minutes": ()})):
        assert "warning: the topic has retention.bytes=1\n" in printed(each)


def unreported(count: int) -> Verification:
    """So many minutes without a report."""
    windows = MinuteWindow.between(WINDOW, MinuteWindow(WINDOW.start + count * MINUTE))
    facts = [replace(GAP, window=window) for window in windows]
    return compare(
        facts, [PartitionFacts(3, WHOLE, None)], TOTALS, stream=default_stream(), in_doubt=0, stale_before=WINDOW.end
    )


def test_minutes_with_the_same_fault_are_one_line_with_one_advice() -> None:
    text = printed(unreported(3))
    assert "3 minutes (2026-11-21T10:31Z to 2026-11-21T10:33Z): no report\n" in text
    asked = '{"minutes": ["2026-11-21T10:31Z", "2026-11-21T10:32Z", "2026-11-21T10:33Z"]}'
    assert f"report these 3 minutes again: airflow dags trigger etar_reconcile --conf '{asked}'\n" in text
    assert text.count("airflow dags trigger") == 1


def test_a_thousand_unreported_minutes_are_a_few_lines_and_one_backfill() -> None:
    text = printed(unreported(1_000))
    notes = text[text.index("totals, arrived") :].splitlines()
    assert len(notes) < 8
    assert "1000 minutes (2026-11-21T10:31Z to 2026-11-22T03:10Z): no report" in notes
    span = "--from-date 2026-11-21T10:31:00+00:00 --to-date 2026-11-22T03:10:00+00:00"
    assert f"airflow backfill create --dag-id etar_pipeline {span} --reprocess-behavior completed" in text


def test_spans_that_are_apart_are_named_up_to_ten() -> None:
    verification = unreported(5)
    some = verification.model_copy(update={"minutes": (*verification.minutes[:2], *verification.minutes[3:])})
    spans = "2026-11-21T10:31Z to 2026-11-21T10:32Z, 2026-11-21T10:34Z to 2026-11-21T10:35Z"
    assert f"4 minutes ({spans}): no report" in printed(some)
    every_second = [minute for place, minute in enumerate(unreported(41).minutes) if place % 2 == 0]
    apart = verification.model_copy(update={"minutes": tuple(every_second)})
    assert "and 11 spans more): no report" in printed(apart)


def test_a_backfill_is_not_advised_over_a_minute_that_lacks_rows() -> None:
    verification = unreported(20)
    lacking = verification.minutes[7].model_copy(update={"lost_rows": 5})
    some = verification.model_copy(update={"minutes": (*verification.minutes, lacking)})
    assert "airflow backfill" not in printed(some)
    assert "and so on, 15 at a time" in printed(some)


def test_of_one_stream_the_json_is_its_account_and_of_several_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def verified(_first: object, _end: object, *, stream: Stream, **_more: object) -> Verification:
        asked.append(stream.name)
        return compare([], [], TOTALS, stream=stream, stale_before=WINDOW.end)

    monkeypatch.setattr("cli.verify.verified", verified)
    one = CliRunner().invoke(app, ["verify", "--json"])
    twice = CliRunner().invoke(app, ["verify", "--json", "--stream", DEFAULT_STREAM, "--stream", DEFAULT_STREAM])
    every = CliRunner().invoke(app, ["verify", "--json", "--all"])
    assert [json.loads(each.stdout)["stream"] for each in (one, twice, every)] == [DEFAULT_STREAM] * 3
    assert asked == [DEFAULT_STREAM] * 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stream", "payments"], "there is no stream 'payments'"),
        (["--all", "--stream", DEFAULT_STREAM], "give either --all or streams by name"),
    ],
)
def test_a_stream_that_is_not_there_or_a_choice_that_is_none_is_told(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["verify", *arguments])
    assert result.exit_code == 1
    assert said in result.stderr


def test_another_streams_repair_and_commands_name_it() -> None:
    payments = replace(default_stream(), name="payments", like=DEFAULT_STREAM)
    verification = compare([], [], TOTALS, stream=payments, stale_before=WINDOW.end)
    assert verification.stream == "payments"
    assert report_again(payments, [WINDOW]) == (
        f"""airflow dags trigger etar_reconcile --conf '{{"stream": "payments", "minutes": ["{WINDOW}"]}}'"""
    )
    assert "--dag-id etar_pipeline_payments " in backfill(payments, WINDOW, WINDOW)
    assert "stream" not in report_again(default_stream(), [WINDOW])
