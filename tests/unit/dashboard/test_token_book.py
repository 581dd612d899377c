"""When the API looks at the tokens of the report store again, and who waits for which look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from dashboard.api.token_book import TokenBook
from etar.api_tokens import SEEN_SECONDS, hashed


class Store:
    """A report store with rows of tokens; ``answers`` is awaited by each look."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.looks = self.uses = 0
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()

    def give(self, token: str, **other: Any) -> None:
        row = {"id": len(self.rows) + 1, "sha256": hashed(token), "name": "anna", "role": "operator"}
        times = {"created_at": datetime.now(UTC), "expires_at": None, "revoked_at": None, "last_used_at": None}
        self.rows.append(row | times | other)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        await self.answers.wait()
        if self.away:
            raise psycopg.OperationalError("away")
        yield self

    @asynccontextmanager
    async def cursor(self, **_: Any) -> AsyncIterator[Any]:
        self.looks += 1
        yield self

    async def execute(self, query: bytes, *_: Any) -> None:
        self.uses += query.startswith(b"UPDATE")

    async def fetchall(self) -> list[dict[str, Any]]:
        return [dict(row) for row in self.rows]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_read_is_believed_for_seconds_and_no_longer() -> None:
    async def play() -> None:
        store, clock = Store(), Clock()
        book = TokenBook(store.connected, clock)
        store.give("good")
        assert await book.find("good")
        store.rows.clear()
        clock.now = SEEN_SECONDS - 0.01
        assert await book.find("good")
        clock.now = SEEN_SECONDS
        assert await book.find("good") is None
        assert store.looks == 2

    asyncio.run(play())


def test_guesses_cost_no_query_each() -> None:
    async def play() -> None:
        store = Store()
        book = TokenBook(store.connected, Clock())
        assert [await book.find(f"guess {n}") for n in range(50)] == [None] * 50
        assert store.looks == 1

    asyncio.run(play())


def test_who_asks_meanwhile_waits_for_the_look_that_is_under_way_also_if_who_began_it_goes_away() -> None:
    async def play() -> None:
        store = Store()
        store.give("good")
        store.answers.clear()
        book = TokenBook(store.connected, Clock())
        first, *others = (asyncio.create_task(book.find("good")) for _ in range(5))
        await asyncio.sleep(0)
        first.cancel()
        store.answers.set()
        assert all(await asyncio.gather(*others))
        assert store.looks == 1

    asyncio.run(play())


def test_a_store_that_is_away_is_an_error_for_all_who_wait_and_not_that_a_token_is_unknown() -> None:
    async def play() -> None:
        store, clock = Store(), Clock()
        store.give("good")
        book = TokenBook(store.connected, clock)
        assert await book.find("good")
        store.away, clock.now = True, SEEN_SECONDS
        found = await asyncio.gather(*(book.find("good") for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in found] == [psycopg.OperationalError] * 3
        store.away = False
        assert await book.find("good")

    asyncio.run(play())


@pytest.mark.parametrize(
    ("ends", "good"),
    [(timedelta(0), False), (timedelta(minutes=5), True), (timedelta(minutes=-5), False)],
    ids=["now", "later", "before"],
)
def test_a_token_ends_also_between_two_looks(ends: timedelta, good: bool) -> None:
    async def play() -> None:
        store = Store()
        store.give("good", expires_at=datetime.now(UTC) + ends)
        book = TokenBook(store.connected, Clock())
        assert bool(await book.find("good")) is good

    asyncio.run(play())


@pytest.mark.parametrize(("used", "notes"), [(None, 1), (timedelta(seconds=50), 0), (timedelta(seconds=61), 1)])
def test_a_use_is_noted_once_a_minute(used: timedelta | None, notes: int) -> None:
    async def play() -> None:
        store = Store()
        store.give("good", last_used_at=None if used is None else datetime.now(UTC) - used)
        book = TokenBook(store.connected, Clock())
        for _ in range(3):
            token = await book.find("good")
            assert token
            await book.note_use(token)
        assert store.uses == notes

    asyncio.run(play())


def test_a_use_that_cannot_be_noted_is_noted_later_and_hinders_nobody() -> None:
    async def play() -> None:
        store = Store()
        store.give("good")
        book = TokenBook(store.connected, Clock())
        token = await book.find("good")
        assert token
        store.away = True
        await book.note_use(token)
        store.away = False
        await book.note_use(token)
        assert store.uses == 1

    asyncio.run(play())
