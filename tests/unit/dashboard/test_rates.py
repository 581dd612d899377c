"""How often is too often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from dashboard.api.rates import Rates, TooManyRequestsError

HERE, THERE = "192.0.2.1", "192.0.2.2"


def refused(ask: Callable[[], Awaitable[None]]) -> bool:
    async def asked() -> bool:
        try:
            await ask()
        except TooManyRequestsError:
            return True
        return False

    return asyncio.run(asked())


def test_a_token_may_ask_up_to_its_limit_and_others_are_not_hindered() -> None:
    rates = Rates(requests=3, refusals=1)
    assert [refused(lambda: rates.count("anna", HERE)) for _ in range(4)] == [False, False, False, True]
    assert refused(lambda: rates.count("anna", THERE))
    assert not refused(lambda: rates.count("berta", HERE))


def test_after_a_minute_it_may_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    rates = Rates(requests=1, refusals=1)
    assert not refused(lambda: rates.count("anna", HERE))
    now += 59.5
    with pytest.raises(
        TooManyRequestsError, match="this token has asked 1 times in a minute; try again in 1 s"
    ) as told:
        asyncio.run(rates.count("anna", HERE))
    assert told.value.seconds == 1
    now += 0.5
    assert not refused(lambda: rates.count("anna", HERE))


def test_an_address_without_a_good_token_is_refused_up_to_its_limit_and_then_not_even_looked_at() -> None:
    rates = Rates(requests=0, refusals=2)
    assert [refused(lambda: rates.count_refusal(HERE)) for _ in range(3)] == [False, False, True]
    assert not refused(lambda: rates.count_refusal(THERE))


def test_among_too_many_guesses_a_right_one_is_told_what_wrong_ones_are() -> None:
    rates = Rates(requests=0, refusals=1)
    asyncio.run(rates.count("who-was-here", HERE))
    asyncio.run(rates.count_refusal(HERE))
    messages = []
    for ask in (lambda: rates.count_refusal(HERE), lambda: rates.count("guessed", HERE)):
        with pytest.raises(TooManyRequestsError) as told:
            asyncio.run(ask())
        messages.append(str(told.value))
    assert len(set(messages)) == 1
    assert not refused(lambda: rates.count("who-was-here", HERE))
    assert not refused(lambda: rates.count("guessed", THERE))


def test_0_is_no_limit() -> None:
    rates = Rates(requests=0, refusals=0)
    assert not any(refused(lambda: rates.count("anna", HERE)) for _ in range(50))
    assert not any(refused(lambda: rates.count_refusal(HERE)) for _ in range(50))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        (HERE, THERE, False),
        ("a-socket", "a-socket", True),
    ],
)
def test_addresses_of_one_customer_are_one(one: str, other: str, same: bool) -> None:
    rates = Rates(requests=0, refusals=1)
    asyncio.run(rates.count_refusal(one))
    assert refused(lambda: rates.count_refusal(other)) is same
