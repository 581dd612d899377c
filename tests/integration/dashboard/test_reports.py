from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest

from etar.report import PublishedReport
from stack.waiting import wait_until
from tests.integration.dashboard.ranges import ranges_of
from tests.integration.dashboard.serving import RunningApi
from tests.interactions import Report
from tests.stream_folders import like_the_first
from tests.unit.dashboard.samples import MINUTE, a_report, minutes_after

Post = Callable[[Report], httpx.Response]


@pytest.fixture
def post(api: RunningApi) -> Post:
    """Sends again while the API says that it has too much to do, as the pipeline does."""

    def send(report: Report) -> httpx.Response:
        answers: list[httpx.Response] = []

        def is_taken() -> bool:
            answers.append(api.writer.post("/report", json=report.model_dump(mode="json")))
            return answers[-1].status_code != 503

        wait_until(is_taken, timeout=120, what="the API's taking a report")
        return answers[-1]

    return send


def minutes_of(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [str(PublishedReport(**each).window) for each in response.json()]


class TestPublishing:
    def test_a_report_comes_back_as_it_was_with_its_revision_and_time(
        self, api: RunningApi, post: Post, stream: str
    ) -> None:
        report = a_report(stream=stream)

        response = post(report)

        assert response.status_code == 201
        published = PublishedReport(**response.json())
        assert Report(**published.model_dump(exclude={"revision", "published_at"})) == report
        assert published.revision == 1
        assert response.json()["error_rate"] == report.error_rate
        assert response.json()["minute"] == "2025-11-21T10:31:00Z"
        assert response.json()["published_at"].endswith("Z")
        assert api.reader.get("/report", params={"stream": stream}).json() == response.json()

    def test_an_empty_minute_is_a_report(self, api: RunningApi, post: Post, stream: str) -> None:
        assert post(Report.empty(MINUTE, stream=stream)).status_code == 201
        assert api.reader.get("/report", params={"stream": stream}).json()["total_events"] == 0

    def test_the_same_content_again_is_the_same_revision(self, post: Post, stream: str) -> None:
        first, again = post(a_report(stream=stream)), post(a_report(stream=stream))

        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json()

    def test_other_content_is_the_next_revision_and_the_first_is_kept(
        self, api: RunningApi, post: Post, stream: str
    ) -> None:
        first, second = post(a_report(stream=stream)), post(a_report(stream=stream, views=101))

        assert (second.status_code, second.json()["revision"]) == (201, 2)
        of_minute = {"stream": stream, "minute": str(MINUTE)}
        assert api.reader.get("/report", params=of_minute).json() == second.json()
        assert api.reader.get("/report", params=of_minute | {"revision": 1}).json() == first.json()
        assert api.reader.get("/report", params=of_minute | {"revision": 2}).json() == second.json()
        assert api.reader.get("/report", params=of_minute | {"revision": 3}).status_code == 404

    def test_content_of_an_earlier_revision_is_the_next_one_because_it_is_what_is_true_now(
        self, api: RunningApi, post: Post, stream: str
    ) -> None:
        first = a_report(stream=stream)
        post(first), post(a_report(stream=stream, views=101))

        back = post(first)

        assert (back.status_code, back.json()["revision"]) == (201, 3)
        assert api.reader.get("/report", params={"stream": stream}).json() == back.json()

    def test_minutes_and_streams_count_their_revisions_apart(self, post: Post, stream: str) -> None:
        post(a_report(stream=stream))

        assert post(a_report(MINUTE.next, stream=stream)).json()["revision"] == 1
        assert post(a_report(stream=like_the_first(f"{stream}_other").name)).json()["revision"] == 1

    def test_a_hundred_posts_of_the_same_content_at_once_are_one_revision(self, post: Post, stream: str) -> None:
        with ThreadPoolExecutor(100) as pool:
            responses = list(pool.map(post, [a_report(stream=stream)] * 100))

        assert sorted(response.status_code for response in responses) == [200] * 99 + [201]
        assert len({response.text for response in responses}) == 1
        assert responses[0].json()["revision"] == 1

    def test_two_contents_at_once_a_hundred_times_are_one_gapless_history(
        self, api: RunningApi, post: Post, stream: str
    ) -> None:
        one, other = a_report(stream=stream, views=1), a_report(stream=stream, views=2)
        with ThreadPoolExecutor(100) as pool:
            responses = list(pool.map(post, [one, other] * 50))

        assert {response.status_code for response in responses} <= {200, 201}
        created = [response.json() for response in responses if response.status_code == 201]
        history = sorted(created, key=lambda each: each["revision"])
        assert [each["revision"] for each in history] == list(range(1, len(history) + 1))
        # Only what differs from the revision before it is one.
        views = [each["event_types"]["view"]["success"] for each in history]
        assert all(before != after for before, after in pairwise(views))
        # Whoever was told that its content is known was given a revision that has it.
        assert all(response.json() in history for response in responses)
        of_minute = {"stream": stream, "minute": str(MINUTE)}
        assert api.reader.get("/report", params=of_minute).json() == history[-1]
        assert [
            api.reader.get("/report", params=of_minute | {"revision": each["revision"]}).json() for each in history
        ] == history

    def test_different_contents_at_once_are_a_revision_each_and_none_is_lost(
        self, api: RunningApi, post: Post, stream: str
    ) -> None:
        views = range(100, 140)
        with ThreadPoolExecutor(40) as pool:
            responses = list(pool.map(post, [a_report(stream=stream, views=count) for count in views]))

        revisions = range(1, len(views) + 1)
        assert sorted(response.json()["revision"] for response in responses) == list(revisions)
        assert {response.status_code for response in responses} == {201}
        of_minute = {"stream": stream, "minute": str(MINUTE)}
        kept = [api.reader.get("/report", params=of_minute | {"revision": n}).json() for n in revisions]
        assert {each["event_types"]["view"]["success"] for each in kept} == set(views)


class TestNewest:
    def test_newest_is_the_newest_minute_not_the_newest_arrival(self, api: RunningApi, post: Post, stream: str) -> None:
        for window in (minutes_after(1), minutes_after(2), minutes_after(0)):
            post(a_report(window, stream=stream))
        post(a_report(minutes_after(1), stream=stream, views=7))

        newest = PublishedReport(**api.reader.get("/report", params={"stream": stream}).json())

        assert newest.window == minutes_after(2)

    def test_no_report_yet_is_not_found(self, api: RunningApi, stream: str) -> None:
        response = api.reader.get("/report", params={"stream": stream})

        assert response.status_code == 404
        assert response.json()["detail"] == f"no report of {stream} yet"

    def test_a_minute_without_a_report_is_not_found(self, api: RunningApi, post: Post, stream: str) -> None:
        post(a_report(stream=stream))

        response = api.reader.get("/report", params={"stream": stream, "minute": str(MINUTE.next)})

        assert response.status_code == 404
        assert response.json()["detail"] == f"no report of {stream} for 2025-11-21T10:32Z"

    @pytest.mark.parametrize("text", ["2025-11-21T10:31Z", "2025-11-21T10:31:00+00:00", "2025-11-21T11:31+01:00"])
    def test_a_minute_is_named_in_any_zone(self, api: RunningApi, post: Post, stream: str, text: str) -> None:
        post(a_report(stream=stream))

        response = api.reader.get("/report", params={"stream": stream, "minute": text})

        assert response.json()["minute"] == "2025-11-21T10:31:00Z"

    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ({"minute": "2025-11-21T10:31:30Z"}, "is not the start of a minute"),
            ({"minute": "2025-11-21T10:31"}, "with its time zone"),
            ({"minute": "yesterday"}, "with its time zone"),
            ({"minute": "9999-12-31T23:59-12:00"}, "out of range"),
            ({"revision": "1"}, "give `minute` too"),
            ({"minute": "2025-11-21T10:31Z", "revision": "0"}, "greater than or equal to 1"),
            ({"minute": "2025-11-21T10:31Z", "revision": "2147483648"}, "less than or equal to"),
            ({"stream": ""}, "at least 1 character"),
            ({"stream": "a\x00b"}, "cannot hold this"),
        ],
    )
    def test_what_names_no_report_is_refused_with_the_reason(
        self, api: RunningApi, parameters: dict[str, str], reason: str
    ) -> None:
        response = api.reader.get("/report", params=parameters)

        assert response.status_code == 422
        assert reason in response.json()["errors"][0]["msg"]


class TestRange:
    @pytest.fixture
    def five_minutes(self, post: Post, stream: str) -> str:
        """Minutes 0 to 4, arrived out of order, minute 2 in two revisions."""
        for count in (3, 0, 4, 1, 2):
            post(a_report(minutes_after(count), stream=stream))
        post(a_report(minutes_after(2), stream=stream, views=101))
        return stream

    @pytest.mark.parametrize(("first", "end", "expected"), ranges_of(5))
    def test_from_is_inclusive_and_to_is_exclusive(
        self, api: RunningApi, five_minutes: str, first: Any, end: Any, expected: list[int]
    ) -> None:
        parameters = {"stream": five_minutes}
        parameters |= {"from": first.isoformat()} if first else {}
        parameters |= {"to": end.isoformat()} if end else {}

        found = minutes_of(api.reader.get("/reports", params=parameters))

        assert found == [str(minutes_after(count)) for count in expected]

    def test_minutes_may_be_written_short(self, api: RunningApi, five_minutes: str) -> None:
        parameters = {"stream": five_minutes, "from": "2025-11-21T10:32Z", "to": "2025-11-21T10:33Z"}

        assert minutes_of(api.reader.get("/reports", params=parameters)) == ["2025-11-21T10:32Z"]

    def test_each_minute_is_there_once_in_its_latest_revision(self, api: RunningApi, five_minutes: str) -> None:
        reports = api.reader.get("/reports", params={"stream": five_minutes}).json()

        assert [each["revision"] for each in reports] == [1, 1, 2, 1, 1]
        assert reports[2]["event_types"]["view"]["success"] == 101

    def test_a_limit_keeps_the_newest_minutes_in_order(self, api: RunningApi, five_minutes: str) -> None:
        newest = minutes_of(api.reader.get("/reports", params={"stream": five_minutes, "limit": 2}))
        before_end = minutes_of(
            api.reader.get("/reports", params={"stream": five_minutes, "limit": 2, "to": str(minutes_after(3))})
        )

        assert newest == [str(minutes_after(3)), str(minutes_after(4))]
        assert before_end == [str(minutes_after(1)), str(minutes_after(2))]

    def test_sixty_minutes_unless_told(self, api: RunningApi, post: Post, stream: str) -> None:
        for count in range(61):
            post(Report.empty(minutes_after(count), stream=stream))

        found = minutes_of(api.reader.get("/reports", params={"stream": stream}))

        assert (len(found), found[0], found[-1]) == (60, str(minutes_after(1)), str(minutes_after(60)))

    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ({"from": "2025-11-21T10:31Z", "to": "2025-11-21T10:31Z"}, "is not before"),
            ({"from": "2025-11-21T10:32Z", "to": "2025-11-21T10:31Z"}, "is not before"),
            ({"from": "2025-11-21T10:31Z", "to": "2025-11-21T11:31+01:00"}, "is not before"),
            ({"from": "2025-11-21T10:31"}, "with its time zone"),
            ({"to": "2025-11-21"}, "with its time zone"),
            ({"to": "1763721060"}, "with its time zone"),
            ({"limit": "0"}, "greater than or equal to 1"),
            ({"limit": "1441"}, "less than or equal to 1440"),
        ],
    )
    def test_what_is_no_range_is_refused_with_the_reason(
        self, api: RunningApi, parameters: dict[str, str], reason: str
    ) -> None:
        response = api.reader.get("/reports", params=parameters)

        assert response.status_code == 422
        assert reason in response.json()["errors"][0]["msg"]

    def test_a_plus_that_became_a_space_is_explained(self, api: RunningApi) -> None:
        response = api.reader.get("/reports?from=2025-11-21T10:31:00+00:00")

        assert response.status_code == 422
        assert "%2B" in response.json()["errors"][0]["msg"]


class TestTags:
    """A client that has an answer is told that it still is the answer."""

    @pytest.mark.parametrize("path", ["/report", "/reports"])
    def test_what_a_client_has_is_not_sent_again_until_it_is_another(
        self, api: RunningApi, post: Post, stream: str, path: str
    ) -> None:
        post(a_report(stream=stream))
        got = api.reader.get(path, params={"stream": stream})
        tag = got.headers["ETag"]

        def again(known: str) -> httpx.Response:
            return api.reader.get(path, params={"stream": stream}, headers={"If-None-Match": known})

        for known in (tag, f'"another", W/{tag}'):
            assert (again(known).status_code, again(known).content) == (304, b"")
            assert again(known).headers["ETag"] == tag
        assert again('"another"').content == got.content

        post(a_report(stream=stream, views=101))
        changed = again(tag)
        assert changed.status_code == 200
        assert changed.headers["ETag"] != tag
        assert changed.content != got.content
