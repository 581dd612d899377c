"""What operators do by the API, and what is written down of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from etar.alerts.numbers import Sample
from etar.api_tokens import Role, create
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings
from etar.streams import stream_named
from tests.alert_looks import looked
from tests.integration.dashboard.serving import RunningApi, bearer, serving

FIRST = "user_interactions"
WANTED = {"alert": "MinutesMissing", "stream": FIRST, "for": "2h", "why": "upgrade of Airflow"}


@pytest.fixture
def own_api(empty_store: ReportStoreSettings, tmp_path: Path) -> Iterator[RunningApi]:
    with serving(empty_store, tmp_path / "api.log") as running:
        yield running


@pytest.fixture
def operator(own_api: RunningApi, empty_store: ReportStoreSettings) -> Iterator[httpx.Client]:
    """A client of anna's."""
    with report_store_connection(empty_store) as connection:
        token = create(connection, "anna", Role.OPERATOR)
    with httpx.Client(base_url=own_api.url, headers=bearer(token), timeout=30) as client:
        yield client


def actions(operator: httpx.Client, **asked: Any) -> list[dict[str, Any]]:
    answer = operator.get("/operator-actions", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def outcomes(operator: httpx.Client) -> list[tuple[str, str, str]]:
    return [(each["action"], each["subject"], each["outcome"]) for each in actions(operator)]


def firing(operator: httpx.Client) -> dict[str, Any]:
    (found,) = [each for each in operator.get("/system").json()["alerts"] if each["alert"] == WANTED["alert"]]
    return dict(found)


def test_an_alert_is_silenced_and_lifted_and_both_are_written_down(
    operator: httpx.Client, empty_store: ReportStoreSettings
) -> None:
    looked(empty_store, [stream_named(FIRST)], Sample("etar_minutes_missing", {"stream": FIRST}, 3))
    assert firing(operator)["silence"] is None

    made = operator.post("/silences", json=WANTED)

    assert made.status_code == 201, made.text
    silence = made.json()
    lasts = datetime.fromisoformat(silence["until"]) - datetime.fromisoformat(silence["begun_at"])
    assert (silence["by"], silence["why"], lasts) == ("anna", "upgrade of Airflow", timedelta(hours=2))
    assert firing(operator)["silence"] == silence

    lifted = operator.delete("/silences/MinutesMissing", params={"stream": FIRST})
    assert (lifted.status_code, lifted.content) == (204, b"")
    assert firing(operator)["silence"] is None

    first, second = actions(operator)
    assert first.pop("at") < second.pop("at")
    assert first == {
        "token": "anna",
        "action": "silence",
        "subject": "MinutesMissing",
        "parameters": {"stream": FIRST, "for": "2h", "why": "upgrade of Airflow"},
        "outcome": "done",
    }
    assert second == {
        "token": "anna",
        "action": "unsilence",
        "subject": "MinutesMissing",
        "parameters": {"stream": FIRST},
        "outcome": "done",
    }


@pytest.mark.parametrize(
    ("change", "part", "says"),
    [
        ({"alert": "MinutesMising"}, "alert", "there is no rule 'MinutesMising'; there are ReportOverdue"),
        ({"stream": "sals"}, "stream", "there is no stream 'sals'"),
        ({"for": "soon"}, "for", "'soon' is no duration"),
        ({"for": "0s"}, "for", "is not between a second and 30 days"),
        ({"for": "30d1s"}, "for", "is not between a second and 30 days"),
        ({"why": "  "}, "why", "it is empty"),
    ],
)
def test_a_silence_that_would_silence_nothing_is_refused_and_that_is_written_down(
    operator: httpx.Client, change: dict[str, str], part: str, says: str
) -> None:
    refused = operator.post("/silences", json=WANTED | change)

    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["loc"] == ["body", part]
    assert says in error["msg"]
    ((action, _, outcome),) = outcomes(operator)
    assert action == "silence"
    assert outcome.startswith("refused: ")
    assert says in outcome


@pytest.mark.parametrize("time", ["1s", "30d"])
def test_the_shortest_and_the_longest_silence(operator: httpx.Client, time: str) -> None:
    assert operator.post("/silences", json=WANTED | {"for": time}).status_code == 201


def test_what_is_not_silenced_cannot_be_lifted(operator: httpx.Client) -> None:
    operator.post("/silences", json=WANTED)
    of_all = operator.delete("/silences/MinutesMissing")  # it is silenced of one stream
    assert of_all.status_code == 404
    assert "is not silenced" in of_all.json()["detail"]
    assert outcomes(operator)[1:] == [("unsilence", "MinutesMissing", "refused: it is not silenced")]


@pytest.mark.parametrize("who", ["reader", "writer"])
def test_nobody_else_operates_and_nothing_is_written_down_of_whoever_tries(
    own_api: RunningApi, operator: httpx.Client, who: str
) -> None:
    client: httpx.Client = getattr(own_api, who)
    answers = [
        client.post("/silences", json=WANTED),
        client.delete("/silences/MinutesMissing"),
        client.get("/operator-actions"),
    ]
    assert [each.status_code for each in answers] == [403] * 3
    assert "an operator's is needed" in answers[0].json()["detail"]
    assert actions(operator) == []


def put(store: ReportStoreSettings, times: Sequence[str]) -> None:
    with report_store_connection(store) as connection:
        for number, at in enumerate(times):
            connection.execute(
                "INSERT INTO operator_actions (at, token, action, subject, parameters, outcome) "
                "VALUES (%s, 'anna', 'silence', %s, '{}', 'done')",
                (at, str(number)),
            )


def test_all_actions_are_on_one_page_or_another_also_those_of_one_instant(
    operator: httpx.Client, empty_store: ReportStoreSettings
) -> None:
    put(empty_store, ["2026-11-21T10:31:07Z", *["2026-11-21T10:31:07.25Z"] * 3, "2026-11-21T10:31:08Z"])
    pages = []
    url: httpx.URL | None = operator.base_url.join("/operator-actions?limit=2")
    while url is not None:
        answer = operator.get(url)
        pages.append([each["subject"] for each in answer.json()])
        url = answer.url.join(answer.links["next"]["url"]) if "next" in answer.links else None
    assert pages == [["1", "2", "3", "4"], ["0"]]


def test_a_range_has_its_begin_and_not_its_end(operator: httpx.Client, empty_store: ReportStoreSettings) -> None:
    put(
        empty_store,
        [f"2026-11-21T10:{time}Z" for time in ("30:59.999999", "31:00", "31:30", "31:59.999999", "32:00")],
    )
    asked = {"from": "2026-11-21T10:31Z", "to": "2026-11-21T10:32Z"}
    assert [each["subject"] for each in actions(operator, **asked)] == ["1", "2", "3"]
    refused = operator.get("/operator-actions", params={"from": asked["to"], "to": asked["from"]})
    assert refused.status_code == 422
