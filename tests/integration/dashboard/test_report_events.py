"""Reports told as they are published."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import AsyncConnection

from dashboard.api import feed
from dashboard.api.main import connection_arguments
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings
from etar.streams import DEFAULT_STREAM
from stack.parts import Stack
from stack.waiting import wait_until
from tests.conftest import running_part
from tests.integration.dashboard.serving import READ_TOKEN, RunningApi, bearer, serving
from tests.stream_folders import like_the_first
from tests.unit.dashboard.samples import MINUTE, a_report

Event = dict[str, Any]


class Listener:
    """Events of an answer that is open, one after the other."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.last_id = ""

    def next(self) -> Event:
        event: Event = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "data":
                event = json.loads(value)
            elif name == "id":
                self.last_id = value
            elif not line and event:
                return event
        raise EOFError("the answer has ended")


@contextmanager
def listening(api: RunningApi, *streams: str, last_id: str = "", token: str = READ_TOKEN) -> Iterator[Listener]:
    headers = bearer(token) | ({"Last-Event-ID": last_id} if last_id else {})
    asked = httpx.stream("GET", f"{api.url}/reports/events", params={"stream": streams}, headers=headers, timeout=60)
    with asked as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Listener(response)


def post(api: RunningApi, stream: str, *, views: int) -> Event:
    """Publish a report, and say what is told of it."""
    answer = api.writer.post("/report", json=a_report(stream=stream, views=views).model_dump(mode="json"))
    assert answer.is_success, answer.text
    return {name: answer.json()[name] for name in ("stream", "minute", "revision", "published_at")}


def insert(connection: psycopg.Connection[Any], stream: str, revisions: range) -> None:
    """As the API does it, in whatever transaction there is."""
    connection.execute(
        "INSERT INTO reports (stream, minute, revision, content) "
        "SELECT %s, %s, revision, '{}' FROM generate_series(%s::integer, %s) AS revision",
        (stream, MINUTE.start, revisions.start, revisions.stop - 1),
    )
    connection.execute("SELECT pg_notify(%s, '')", (feed.CHANNEL,))


def test_each_report_and_revision_is_told_to_all_who_listen_to_its_stream(api: RunningApi, stream: str) -> None:
    other = like_the_first(f"{stream}_other").name
    with listening(api, stream) as one, listening(api, stream, other) as both, listening(api) as everything:
        told = [post(api, stream, views=1), post(api, other, views=1), post(api, stream, views=2)]
        post(api, stream, views=2)  # the same again is nothing new
        told.append(post(api, stream, views=3))

        of_stream = [each for each in told if each["stream"] == stream]
        assert [each["revision"] for each in of_stream] == [1, 2, 3]
        assert [one.next() for _ in of_stream] == of_stream
        assert [both.next() for _ in told] == told
        assert [everything.next() for _ in told] == told


def test_who_comes_back_is_told_what_it_missed_before_what_is_new(api: RunningApi, stream: str) -> None:
    with listening(api, stream) as listener:
        known = post(api, stream, views=1)
        assert listener.next() == known
    missed = post(api, stream, views=2)
    with listening(api, stream, last_id=listener.last_id) as listener:
        # What was published within some seconds before it may have become visible only now: it comes again.
        assert [listener.next() for _ in range(2)] == [known, missed]
        new = post(api, stream, views=3)
        assert listener.next() == new
    edge = datetime.fromisoformat(listener.last_id) + feed.LOOK_BACK
    with listening(api, stream, last_id=(edge + timedelta(microseconds=1)).isoformat()) as listener:
        newer = post(api, stream, views=4)
        assert listener.next() == newer
    with listening(api, stream, last_id=edge.isoformat()) as listener:
        assert [listener.next() for _ in range(2)] == [new, newer]


def test_more_than_a_page_of_the_same_instant_is_told_whole(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    count = 2 * feed.AT_ONCE + 1
    with report_store_connection(report_store) as connection:
        insert(connection, stream, range(1, count + 1))
    long_ago = (datetime.now().astimezone() - timedelta(hours=1)).isoformat()
    with listening(api, stream, last_id=long_ago) as listener:
        assert [listener.next()["revision"] for _ in range(count)] == list(range(1, count + 1))


def test_what_becomes_visible_after_a_later_one_is_told_as_well(
    api: RunningApi, report_store: ReportStoreSettings, stream: str
) -> None:
    with listening(api, stream) as listener, ExitStack() as closing:
        slow, fast = (closing.enter_context(report_store_connection(report_store)) for _ in range(2))
        insert(slow, stream, range(1, 2))
        insert(fast, stream, range(2, 3))
        fast.commit()
        assert listener.next()["revision"] == 2
        slow.commit()
        assert listener.next()["revision"] == 1


def test_a_listener_that_takes_nothing_is_let_go_and_the_others_are_told_on(
    report_store: ReportStoreSettings, stream: str
) -> None:
    """In this process: to the network's buffers all of it is little."""
    count = 2 * feed.AT_ONCE

    arguments = connection_arguments(report_store)

    async def told() -> tuple[list[int], list[int]]:
        reports = feed.ReportFeed(lambda: AsyncConnection.connect(**arguments, autocommit=True))
        async with reports.listening(30) as slow, reports.listening(30) as fast, asyncio.timeout(240):
            taken = []
            with report_store_connection(report_store) as connection:
                for revision in range(1, count + 1):
                    insert(connection, stream, range(revision, revision + 1))
                    connection.commit()
                    taken.append((await anext(fast)).revision)
            return [each.revision async for each in slow], taken

    slow, fast = asyncio.run(told())
    assert fast == list(range(1, count + 1))
    assert slow == list(range(1, feed.AT_ONCE + 1))


def test_over_an_outage_of_the_report_store_nothing_is_missed(own_stack: Stack, tmp_path: Path) -> None:
    store = own_stack.settings.of(ReportStoreSettings)
    stream = DEFAULT_STREAM
    with ExitStack() as closing:
        with running_part("postgres", own_stack):
            api = closing.enter_context(serving(store, tmp_path / "api.log"))
            listener = closing.enter_context(listening(api, stream))
            told = post(api, stream, views=1)
            assert listener.next() == told
        wait_until(lambda: "listeners wait" in api.log.read_text(), timeout=60, what="the outage to be noticed")
        refused = api.reader.get("/reports/events")
        assert (refused.status_code, "does not answer" in refused.json()["detail"]) == (503, True)
        with running_part("postgres", own_stack):
            told = post(api, stream, views=2)
            assert listener.next() == told


def test_what_is_asked_wrongly_is_refused(api: RunningApi) -> None:
    assert api.stranger.get("/reports/events").status_code == 401
    assert api.writer.get("/reports/events").status_code == 403
    refused = api.reader.get("/reports/events", headers={"Last-Event-ID": "yesterday"})
    assert refused.status_code == 422
    assert "'yesterday' is not an instant" in refused.json()["errors"][0]["msg"]
