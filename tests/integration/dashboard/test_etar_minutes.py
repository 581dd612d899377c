"""``etar minutes`` on a real API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings, get_settings
from tests.integration.dashboard.ledger_rows import keep_minutes, keep_revisions
from tests.integration.dashboard.serving import READ_TOKEN, WRITE_TOKEN, RunningApi
from tests.ports import free_ports
from tests.unit.dashboard.samples import a_failed_entry, an_entry, an_open_entry

# The command reads the stream that tests share: minutes of this file's own.
FIRST = MinuteWindow.parse("2024-02-29T23:58Z")
RANGE = ("--from", "2024-02-29T23:58Z", "--to", "2024-03-01T00:02Z")

Etar = Callable[..., Result]


def minutes_after(count: int) -> MinuteWindow:
    return MinuteWindow(FIRST.start + timedelta(minutes=count))


@pytest.fixture
def etar(api: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Etar]:
    """The command, with the environment of a reader of the API."""
    monkeypatch.setenv("ETAR_API_URL", api.url)
    monkeypatch.setenv("ETAR_API_READ_TOKEN", READ_TOKEN)
    get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, [*arguments, "--dir", str(tmp_path / "no-stack")])
    get_settings.cache_clear()


@pytest.fixture
def four_minutes(report_store: ReportStoreSettings) -> None:
    """Minutes 0 to 3: reported, revised, failed, open."""
    keep_minutes(
        report_store,
        an_entry(minutes_after(0)),
        an_entry(minutes_after(1), revision=2),
        a_failed_entry(minutes_after(2)),
        an_open_entry(minutes_after(3)),
    )
    keep_revisions(report_store, an_entry(minutes_after(1)), an_entry(minutes_after(1), revision=2))


def states_of(result: Result) -> list[tuple[str, str]]:
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    return [(words[0], words[1]) for words in lines if words and words[0].startswith("2024-") and words[0][-1] == "Z"]


@pytest.mark.usefixtures("four_minutes")
class TestOnItsLedger:
    def test_a_range_is_printed(self, etar: Etar) -> None:
        result = etar("minutes", *RANGE)

        assert states_of(result) == [
            ("2024-02-29T23:58Z", "reported"),
            ("2024-02-29T23:59Z", "reported"),
            ("2024-03-01T00:00Z", "failed"),
            ("2024-03-01T00:01Z", "open"),
        ]
        assert "2024-03-01T00:00Z: the sink is <away>" in result.output

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--state", "failed", "--state", "open"], [2, 3]),
            (["--limit", "1"], [3]),
            (["--limit", "1", "--state", "reported"], [1]),
            (["--from", "2024-02-29T23:59Z"], [1, 2, 3]),
            (["--to", "2024-02-29T23:59Z"], [0]),
            (["--state", "analysed"], []),
        ],
    )
    def test_a_range_is_narrowed(self, etar: Etar, options: list[str], expected: list[int]) -> None:
        found = states_of(etar("minutes", *RANGE, *options))

        assert [minute for minute, _ in found] == [str(minutes_after(count)) for count in expected]

    def test_one_minute_is_printed_with_its_history(self, etar: Etar) -> None:
        result = etar("minutes", "2024-02-29T23:59Z")

        assert result.exit_code == 0, result.output
        assert "Its revisions" in result.output
        assert states_of(result) == [("2024-02-29T23:59Z", "reported")] * 3
        assert "extracts/user_interactions/2024-02-29_23-59.parquet, 4,821 bytes" in result.output

    def test_json_is_what_the_api_answers(self, api: RunningApi, etar: Etar) -> None:
        listed, one = etar("minutes", *RANGE, "--json"), etar("minutes", "2024-02-29T23:59Z", "--json")

        parameters = {"from": RANGE[1], "to": RANGE[3]}
        assert json.loads(listed.output) == api.reader.get("/minutes", params=parameters).json()
        assert json.loads(one.output) == api.reader.get("/minutes/2024-02-29T23:59Z").json()
        assert [each["revision"] for each in json.loads(one.output)["revisions"]] == [1, 2]


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["2024-02-01T00:00Z"], "no run of user_interactions has begun 2024-02-01T00:00Z"),
            (["yesterday"], "is not a minute"),
            (["--from", "2024-02-29T23:58:30Z"], "is not the start of a minute"),
            (["--from", "2024-02-29T23:58Z", "--to", "2024-02-29T23:58Z"], "answers 422: query.from: from"),
            (["2024-02-29T23:59Z", "--state", "open"], "give either one minute or a range"),
        ],
    )
    def test_what_cannot_be_shown_is_one_line_and_exit_code_1(
        self, etar: Etar, arguments: list[str], message: str
    ) -> None:
        result = etar("minutes", *arguments)

        assert result.exit_code == 1
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_a_refused_token_is_not_shown(self, etar: Etar, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ETAR_API_READ_TOKEN", WRITE_TOKEN)

        result = etar("minutes")

        assert result.exit_code == 1
        assert "answers 403" in result.stderr
        assert WRITE_TOKEN not in result.output

    def test_an_api_that_is_away_is_named(self, etar: Etar, monkeypatch: pytest.MonkeyPatch) -> None:
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        monkeypatch.setenv("ETAR_API_URL", url)

        result = etar("minutes")

        assert result.exit_code == 1
        assert f"the report API at {url} is away" in result.stderr
