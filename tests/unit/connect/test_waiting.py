"""What is waited for, and what is told about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from connect.native_sink.patience import StoppedWaitingError, persist
from etar.records.registry import RegisteredSchema, Registry, RegistryUnavailableError


def registry_answering(handler: Callable[[httpx.Request], httpx.Response]) -> Registry:
    return Registry(httpx.Client(base_url="http://registry/api/", transport=httpx.MockTransport(handler)))


def refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={"error_code": 50001}),
        httpx.Response(503, text="upstream is starting"),
        httpx.Response(401, json={"error_code": 401}),
        httpx.Response(404, text="<html>no such page</html>"),
        httpx.Response(404, json={"error_code": 404}),
        httpx.Response(404, json=[]),
        httpx.Response(200, text="<html>welcome</html>"),
        httpx.Response(200, json={}),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.text[:20]}",
)
def test_only_the_registrys_own_word_condemns_a_record(answer: httpx.Response) -> None:
    with pytest.raises(RegistryUnavailableError, match="no answer about schema id 5"):
        registry_answering(lambda _: answer).schema(5)


@pytest.mark.parametrize(("schema_id", "asked"), [(2**31 - 1, True), (2**31, False), (2**32 - 1, False)])
def test_an_id_that_no_registry_can_have_is_not_asked_for(schema_id: int, asked: bool) -> None:
    """Confluent's answers it with the 404 of a page that is not there."""
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(404, json={"error_code": 40403})

    assert registry_answering(answer).schema(schema_id) is None
    assert bool(paths) is asked


@pytest.mark.parametrize(("silent", "heard"), [(1, True), (2, False)])
def test_a_registry_that_stood_still_is_asked_once_more(silent: int, heard: bool) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) <= silent:
            raise httpx.ReadTimeout("timed out", request=request)
        return httpx.Response(404, json={"error_code": 40403})

    registry = registry_answering(answer)
    if heard:
        assert registry.schema(5) is None
    else:
        with pytest.raises(RegistryUnavailableError, match="timed out"):
            registry.schema(5)
    assert len(asked) == 2


NO_SUCH_PAGE = httpx.Response(404, text="no such page")


@pytest.mark.parametrize(
    ("guids", "types", "known"),
    [
        (httpx.Response(200, json={"schema": "{}"}), None, RegisteredSchema("{}", "AVRO")),
        (httpx.Response(404, json={"error_code": 40403}), None, None),
        (NO_SUCH_PAGE, httpx.Response(200, json=["AVRO"]), None),
        (NO_SUCH_PAGE, NO_SUCH_PAGE, ...),
        (httpx.Response(503), httpx.Response(200, json=["AVRO"]), ...),
    ],
    ids=["known", "unknown", "a registry without GUIDs", "no registry", "away"],
)
def test_a_guid_is_unknown_to_a_registry_that_knows_none(
    guids: httpx.Response, types: httpx.Response | None, known: Any
) -> None:
    guid = UUID("5e1f0c52-3a53-4a0e-9d52-6b0a3d1f7c11")
    answers = {f"/api/schemas/guids/{guid}": guids, "/api/schemas/types": types or httpx.Response(500)}
    registry = registry_answering(lambda request: answers[request.url.path])
    if known is ...:
        with pytest.raises(RegistryUnavailableError, match=f"no answer about schema GUID {guid}"):
            registry.schema(guid)
    else:
        assert registry.schema(guid) == known


def test_a_schema_comes_with_what_it_refers_to_and_with_what_the_registry_lacks_of_that() -> None:
    def document(text: str, *references: tuple[str, int]) -> dict[str, Any]:
        return {"schema": text, "references": [{"name": "x", "subject": s, "version": v} for s, v in references]}

    answers = {
        "/api/schemas/ids/5": document("top", ("a", 1), ("b/c", 2)),
        "/api/subjects/a/versions/1": document("a", ("b/c", 2)),
        "/api/subjects/b%2Fc/versions/2": document("bc", ("gone", 3)),
    }

    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.get(request.url.raw_path.decode())
        return httpx.Response(200, json=found) if found else httpx.Response(404, json={"error_code": 40402})

    found = registry_answering(answer).schema(5)
    assert found is not None
    assert (found.text, set(found.references), len(found.references), found.missing) == (
        "top",
        {"a", "bc"},
        2,
        ("gone 3",),
    )


def test_a_registry_that_refuses_connections_is_away() -> None:
    with pytest.raises(RegistryUnavailableError, match="ETAR_REGISTRY_URL"):
        registry_answering(refuse).schema(5)


def test_the_registrys_two_answers() -> None:
    not_found = httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"})
    assert registry_answering(lambda _: not_found).schema(5) is None
    found = httpx.Response(200, json={"schema": "{}"})
    assert registry_answering(lambda _: found).schema(5) == RegisteredSchema("{}", "AVRO")


def test_an_outage_is_told_once_at_its_start_and_once_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    outage = ConnectionError("refused")
    answers: Iterator[Exception | str] = iter([outage, outage, outage, "done"])
    rests: list[int] = []

    def attempt() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with caplog.at_level(logging.WARNING):
        result = persist(
            attempt, part="warehouse", away=ConnectionError, rest=lambda: rests.append(1), stopping=lambda: False
        )

    assert result == "done"
    assert len(rests) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "waiting for the warehouse: refused",
        "the warehouse is back",
    ]


def test_a_stop_ends_the_waiting() -> None:
    def attempt() -> None:
        raise ConnectionError("refused")

    with pytest.raises(StoppedWaitingError, match="stopped while waiting for the warehouse"):
        persist(attempt, part="warehouse", away=ConnectionError, rest=lambda: None, stopping=lambda: True)


def test_another_error_is_not_waited_for() -> None:
    def attempt() -> None:
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        persist(attempt, part="warehouse", away=ConnectionError, rest=lambda: None, stopping=lambda: False)
