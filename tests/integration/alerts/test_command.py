"""`etar alerts` as a person runs it, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.alerts import NOT_KNOWN
from cli.main import app
from etar.alerts.numbers import Sample
from etar.settings import ReportStoreSettings, get_settings
from etar.streams import stream_named
from tests.alert_looks import grow_old, looked
from tests.integration.alerts.conftest import PASSWORD, Hook, MailServer
from tests.ports import free_ports

FIRST = "user_interactions"
GIVEN_UP = Sample("etar_minutes_given_up", {"stream": FIRST}, 2)
Run = Callable[..., Result]


@pytest.fixture
def run(empty_store: ReportStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ETAR_DIR", str(tmp_path))
    for name, value in {
        "HOST": empty_store.host,
        "PORT": str(empty_store.port),
        "DATABASE": empty_store.database,
        "USER": empty_store.user,
        "PASSWORD": empty_store.password.get_secret_value(),
    }.items():
        monkeypatch.setenv(f"ETAR_REPORT_STORE_{name}", value)

    def run(*arguments: str) -> Result:
        get_settings.cache_clear()
        return CliRunner().invoke(app, ["alerts", *arguments], env={"COLUMNS": "200"})

    return run


def look(store: ReportStoreSettings, *samples: Sample) -> None:
    looked(store, [stream_named(FIRST)], *samples)


def test_nobody_has_looked_is_not_that_nothing_fires(run: Run, empty_store: ReportStoreSettings) -> None:
    result = run()
    assert result.exit_code == NOT_KNOWN
    assert "nobody has looked at the alerts yet" in result.stderr
    look(empty_store)
    assert run().exit_code == 0
    grow_old(empty_store, 61)
    result = run()
    assert result.exit_code == NOT_KNOWN
    assert "nobody has looked at the alerts for 6" in result.stderr


def test_a_store_that_is_away_is_not_that_nothing_fires(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAR_REPORT_STORE_PORT", str(free_ports(1)[0]))
    result = run()
    assert result.exit_code == NOT_KNOWN
    assert "the report store at 127.0.0.1:" in result.stderr


def test_what_fires_is_listed_with_what_to_press(run: Run, empty_store: ReportStoreSettings) -> None:
    look(empty_store, GIVEN_UP, Sample("etar_kafka_up", {}, 1))
    result = run()
    assert result.exit_code == 1
    first, press, count, *_ = result.stdout.splitlines()
    assert first.startswith(f"firing: MinutesGivenUp of {FIRST}: 2 minutes of {FIRST} were given up")
    assert " since 20" in first
    assert f"`etar minutes --stream {FIRST} --state failed` says why" in press
    assert count.startswith("1 of ")
    assert "well: KafkaAway" not in result.stdout
    assert "well: KafkaAway (etar_kafka_up < 1), since 20" in run("--all").stdout
    assert "told to: team" in result.stdout


def test_as_json_it_has_everything(run: Run, empty_store: ReportStoreSettings) -> None:
    look(empty_store, GIVEN_UP)
    told = json.loads(run("--json").stdout)
    (firing,) = [each for each in told["alerts"] if each["state"] == "firing"]
    assert (firing["alert"], firing["labels"], firing["value"]) == ("MinutesGivenUp", {"stream": FIRST}, 2)
    assert (firing["silence"], firing["severity"]) == (None, "critical")
    assert told["looked_seconds_ago"] < 60
    assert told["targets"] == ["team"]


def test_one_that_is_silenced_is_shown_and_is_no_failure(run: Run, empty_store: ReportStoreSettings) -> None:
    look(empty_store, GIVEN_UP)
    silenced = run("silence", "MinutesGivenUp", "--stream", FIRST, "--for", "2h", "--why", "known, ticket 7")
    assert silenced.exit_code == 0, silenced.output
    result = run()
    assert result.exit_code == 0
    assert "known, ticket 7]" in result.stdout
    assert "silenced until 20" in result.stdout
    assert ", 1 silenced" in result.stdout
    # It was made for that stream.
    refused = run("unsilence", "MinutesGivenUp")
    assert (refused.exit_code, "is not silenced" in refused.stderr) == (1, True)
    assert run("unsilence", "MinutesGivenUp", "--stream", FIRST).exit_code == 0
    assert run().exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["MinutesGivenup", "--for", "2h", "--why", "w"], "there is no rule 'MinutesGivenup'; there are ReportOverdue"),
        (["SinkBehind", "--for", "2h", "--why", "w", "--stream", "sals"], "there is no stream 'sals'"),
        (["SinkBehind", "--for", "soon", "--why", "w"], "'soon' is no duration"),
        (["SinkBehind", "--for", "31d", "--why", "w"], "is not between a second and 30 days"),
        (["SinkBehind", "--for", "0s", "--why", "w"], "is not between a second and 30 days"),
        (["SinkBehind", "--for", "1h", "--why", "  "], "--why: it is empty"),
    ],
)
def test_what_would_silence_nothing_is_refused(run: Run, arguments: list[str], why: str) -> None:
    result = run("silence", *arguments)
    assert result.exit_code == 1
    assert why in result.stderr


def test_usage_errors_have_their_own_code(run: Run) -> None:
    assert run("silence", "SinkBehind").exit_code == 2


def test_a_test_message_goes_to_each_target_and_says_which_failed(
    run: Run, hook: Hook, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETAR_ALERTS_TARGETS", f"{mail_server.address} {hook.address}")
    result = run("test")
    assert (result.exit_code, result.stdout) == (0, "mail: taken\nhook: taken\n")
    assert hook.titles == ["etar: test"]
    assert [mail["subject"] for mail in mail_server.mails] == ["etar: test"]

    hook.status = 500
    result = run("test")
    assert result.exit_code == 1
    assert result.stdout.startswith("mail: taken\nhook: FAILED: ")
    assert PASSWORD not in result.output


def test_without_a_target_there_is_nothing_to_test(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAR_ALERTS_TARGETS", "")
    result = run("test")
    assert result.exit_code == 1
    assert "there is no target: set ETAR_ALERTS_TARGETS" in result.stderr
