"""The rules as data, and what each says of numbers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from cli.main import COMMANDS
from dashboard.api.metrics import METRICS as OF_API
from etar.alerts.jobs import job_states
from etar.alerts.numbers import METRICS, Labels, Sample, Scope
from etar.alerts.rules import RULES, RulesError, duration, read_rules, rules_of
from etar.job_progress import JobProgress
from etar.streams import Job, Stream

RIDES = Stream("rides", jobs=(Job("sums", "spark-streaming", "app.py"),))
SALES = Stream("sales")
OF: dict[Scope, Labels] = {
    Scope.SYSTEM: {},
    Scope.STREAM: {"stream": "rides"},
    Scope.JOB: {"stream": "rides", "part": "sums"},
}
LIMITS = {
    "etar_report_age_seconds": 150,
    "etar_minutes_missing": 0,
    "etar_minutes_given_up": 0,
    "etar_difference_records": 0,
    "etar_audit_age_seconds": 900,
    "etar_bad_record_ratio": 0.01,
    "etar_dead_letters_open": 1000,
    "etar_sink_overdue_records": 0,
    "etar_job_up": 1,
    "etar_job_lag_records": 1000,
    "etar_job_input_rows_per_second": 500,
    "etar_job_processed_rows_per_second": 500,
    "etar_report_store_up": 1,
    "etar_alerts_up": 1,
    "etar_kafka_up": 1,
    "etar_api_up": 1,
    "etar_api_pool_used_ratio": 0.8,
    "etar_api_slowest_query_seconds": 1,
    "etar_api_error_ratio": 0.01,
}
"""What is just not wrong."""

BEYOND = {
    "ReportOverdue": ("etar_report_age_seconds", 150.1),
    "MinutesMissing": ("etar_minutes_missing", 1),
    "MinutesGivenUp": ("etar_minutes_given_up", 1),
    "RecordsDiffer": ("etar_difference_records", 1),
    "AuditBehind": ("etar_audit_age_seconds", 901),
    "BadRecords": ("etar_bad_record_ratio", 0.0101),
    "DeadLettersOpen": ("etar_dead_letters_open", 1001),
    "SinkBehind": ("etar_sink_overdue_records", 1),
    "StreamJobSilent": ("etar_job_up", 0),
    "StreamJobBehind": ("etar_job_lag_records", 1001),
    "StreamJobTooSlow": ("etar_job_processed_rows_per_second", 499.9),
    "ReportStoreAway": ("etar_report_store_up", 0),
    "AlertsUnwatched": ("etar_alerts_up", 0),
    "KafkaAway": ("etar_kafka_up", 0),
    "ReportApiAway": ("etar_api_up", 0),
    "ReportApiPoolNearlyFull": ("etar_api_pool_used_ratio", 0.81),
    "ReportApiQuerySlow": ("etar_api_slowest_query_seconds", 1.01),
    "ReportApiErrors": ("etar_api_error_ratio", 0.011),
}


def samples(**changed: float | None) -> list[Sample]:
    """One number of each metric that a rule is about; none of what is None."""
    values = {**LIMITS, **changed}
    return [Sample(name, OF[METRICS[name].scope], value) for name, value in values.items() if value is not None]


def said(found: list[Sample], *streams: Stream) -> dict[str, list[bool | None]]:
    return {rule.alert: [each.holds for each in rule.verdicts(found, streams or (RIDES,))] for rule in read_rules()}


def test_at_its_limit_no_rule_holds() -> None:
    assert said(samples()) == {alert: [False] for alert in BEYOND}


@pytest.mark.parametrize("alert", BEYOND)
def test_beyond_its_limit_each_rule_holds_and_no_other(alert: str) -> None:
    name, value = BEYOND[alert]
    assert [each for each, holds in said(samples(**{name: value})).items() if holds == [True]] == [alert]


def test_of_a_number_that_nobody_has_a_rule_says_nothing() -> None:
    unknown = said(samples(etar_minutes_missing=None, etar_job_input_rows_per_second=None))
    assert [alert for alert, holds in unknown.items() if holds == [None]] == ["MinutesMissing", "StreamJobTooSlow"]


def test_a_rule_speaks_of_each_stream_and_each_job_that_is_on() -> None:
    found = [*samples(), Sample("etar_minutes_missing", {"stream": "sales"}, 3)]
    holds = said(found, RIDES, SALES)
    assert holds["MinutesMissing"] == [False, True]
    assert holds["ReportOverdue"] == [False, None]
    assert holds["StreamJobSilent"] == [False]
    assert holds["KafkaAway"] == [False]
    assert said(found, SALES)["StreamJobSilent"] == []


def test_the_file_is_one_that_prometheus_takes() -> None:
    """What `promtool check rules` asks of it: known keys, durations, one name a rule."""
    document = yaml.safe_load(RULES.read_text())
    assert document.keys() == {"groups"}
    for group in document["groups"]:
        assert group.keys() <= {"name", "interval", "rules"}
        for rule in group["rules"]:
            assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
            assert all(isinstance(each, str) for each in (*rule["labels"].values(), *rule["annotations"].values()))
    assert {rule.for_[-1] for rule in read_rules()} <= {"s", "m"}


def test_each_rule_says_what_to_press_and_its_commands_are_there() -> None:
    for rule in read_rules():
        text = rule.description(OF[rule.scope], 3)
        assert text
        assert "{{" not in rule.summary(OF[rule.scope], 3) + text
        commands = [part.split()[1] for part in text.split("`") if part.startswith("etar ")]
        assert set(commands) <= COMMANDS.keys()


def test_texts_are_filled_with_labels_and_value() -> None:
    (missing,) = [rule for rule in read_rules() if rule.alert == "MinutesMissing"]
    assert missing.summary({"stream": "rides"}, 4.0) == "No run has taken 4 minutes of rides that are over"
    assert missing.summary({}, None) == "No run has taken - minutes of - that are over"


def document(**changed: object) -> dict[str, object]:
    rule = {"alert": "A", "expr": "etar_api_up < 1", "labels": {}, "annotations": {"summary": "s"}} | changed
    return {"groups": [{"name": "g", "rules": [rule]}]}


@pytest.mark.parametrize("expr", ["rate(x[5m]) > 1", "a > b > 1", "a > -1", "x{y='z'} > 1", "etar_api_up < 1.2.3"])
def test_an_expression_that_only_prometheus_understands_is_refused(expr: str) -> None:
    with pytest.raises(ValidationError, match="is not METRIC COMPARISON NUMBER"):
        rules_of(document(expr=expr))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"expr": "etar_minutes_mising > 0"}, "there is no metric etar_minutes_mising"),
        ({"expr": "etar_job_lag_records > etar_report_age_seconds"}, "are not of the same things"),
        ({"for": "soon"}, "'soon' is no duration"),
        ({"keep_firing_for": "5m"}, "Extra inputs are not permitted"),
    ],
)
def test_a_rule_that_would_never_fire_as_meant_is_refused(tmp_path: Path, changed: dict[str, object], why: str) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(document(**changed)))
    with pytest.raises(RulesError, match=why):
        read_rules(file)


@pytest.mark.parametrize("text", ["", "[]", "groups: 3", "groups: [{rules: ["])
def test_a_file_that_is_none_of_rules_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(text)
    with pytest.raises(RulesError, match=f"the alert rules in {file} cannot be read"):
        read_rules(file)
    with pytest.raises(RulesError, match="No such file"):
        read_rules(tmp_path / "none.yml")


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    one = document()["groups"]
    assert isinstance(one, list)
    file.write_text(yaml.safe_dump({"groups": one * 2}))
    with pytest.raises(RulesError, match="more than one rule of the name A"):
        read_rules(file)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1m1s", 61), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1.5h", "5 m", "5m1h", "forever"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        duration(text)


def test_what_the_api_says_of_itself_are_metrics_that_rules_may_be_about() -> None:
    found = {family.name for family in OF_API.collect()}
    assert {"etar_api_error_ratio", "etar_api_slowest_query_seconds"} <= found <= METRICS.keys()


def test_of_a_silent_job_there_is_nothing_but_that_it_is_down() -> None:
    progress = JobProgress(batch=3, behind=7)
    (fresh,) = job_states([RIDES], {"rides/sums": (progress, 59.0)})
    (old,) = job_states([RIDES], {"rides/sums": (progress, 60.0)})
    (never,) = job_states([RIDES], {})
    assert {each.name: each.value for each in fresh.samples}["etar_job_lag_records"] == 7
    assert [each.name for each in fresh.samples] == [name for name in METRICS if METRICS[name].scope is Scope.JOB]
    assert {each.name: each.value for each in old.samples} == {"etar_job_up": 0, "etar_job_progress_age_seconds": 60}
    assert {each.name: each.value for each in never.samples} == {"etar_job_up": 0}
