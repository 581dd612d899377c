"""Seeded e-commerce traffic: users who search, look, and sometimes buy. Pure; time comes in with every call.

It is made in rounds, with NumPy: in a round, each visit that is under way takes its next step, all of them at once.
"""

from __future__ import annotations

from itertools import accumulate
from random import Random
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import numpy.typing as npt

from etar.rows.blocks import UUID_BYTES, Block, Drawn, chance_of

from .event import EVENT_TYPES, STATUSES

_USER_IDS = uuid5(NAMESPACE_URL, "etar/users")

_COUNTRIES = {"DE": 24, "US": 20, "GB": 12, "FR": 11, "ES": 8, "IT": 7, "NL": 6, "PL": 5, "JP": 4, "BR": 3}
_DEVICES = {"mobile": 62, "desktop": 33, "tablet": 5}
_QUANTITIES = {1: 85, 2: 12, 3: 3}

LEAVE: Final = "leave"
_STEPS = (*EVENT_TYPES, LEAVE)

_FIRST_STEP = {"view": 70, "search": 30}

_NEXT_STEP = {
    "search": {"view": 75, "search": 10, LEAVE: 15},
    "view": {"click": 35, "view": 35, "search": 8, LEAVE: 22},
    "click": {"add_to_cart": 35, "view": 40, LEAVE: 25},
    "add_to_cart": {"checkout": 45, "view": 35, LEAVE: 20},
    "checkout": {"purchase": 75, LEAVE: 25},
    "purchase": {LEAVE: 100},
}
"""After a success. A step of the funnel is reached only from the one before it."""

_ERROR_CODES = {
    "search": {"search_unavailable": 50, "query_too_long": 20, "upstream_timeout": 30},
    "view": {"product_not_found": 60, "upstream_timeout": 40},
    "click": {"upstream_timeout": 70, "internal_error": 30},
    "add_to_cart": {"out_of_stock": 75, "session_expired": 25},
    "checkout": {"payment_declined": 55, "address_invalid": 30, "session_expired": 15},
    "purchase": {"payment_declined": 60, "payment_timeout": 30, "fraud_suspected": 10},
}

_RETRIES_AFTER_ERROR = 0.6

_VIEW, _ADD, _CHECKOUT, _PURCHASE, _SEARCH, _LEFT = map(
    _STEPS.index, ("view", "add_to_cart", "checkout", "purchase", "search", LEAVE)
)
_SUCCESS, _ERROR = map(STATUSES.index, ("success", "error"))
_NO_AMOUNT = -1
_CODES = (None, *dict.fromkeys(code for codes in _ERROR_CODES.values() for code in codes))
_HUNDRED = 100


def _hundred(weights: dict[Any, int], among: tuple[Any, ...]) -> npt.NDArray[np.intp]:
    """A hundred places among some values, each as often as its value's weight: a choice by weight is one of them."""
    return np.repeat([among.index(value) for value in weights], list(weights.values()))


_DEVICE_NAMES = tuple(_DEVICES)
_DEVICE = _hundred(_DEVICES, _DEVICE_NAMES)
_QUANTITY = _hundred(_QUANTITIES, tuple(range(max(_QUANTITIES) + 1)))
_FIRST = _hundred(_FIRST_STEP, _STEPS)
_NEXT = np.array([_hundred(_NEXT_STEP[step], _STEPS) for step in EVENT_TYPES])
_CODE = np.array([_hundred(_ERROR_CODES[step], _CODES) for step in EVENT_TYPES])


class Zipf:
    """Ranks ``0 … size-1``, rank r drawn with a weight of ``1 / (r+1)**exponent``: few are popular, most are rare."""

    def __init__(self, size: int, exponent: float) -> None:
        self._cumulative = np.array(list(accumulate(1 / rank**exponent for rank in range(1, size + 1))))

    def draw(self, chance: np.random.Generator, count: int) -> npt.NDArray[np.intp]:
        found = np.searchsorted(self._cumulative, chance.random(count) * self._cumulative[-1], side="right")
        # minimum: a product that rounds up to the total would fall off the end.
        return np.minimum(found, len(self._cumulative) - 1)  # type: ignore[no-any-return]


class Shop:
    """Who comes and what there is to buy: the same in every run, so that users come back from run to run."""

    def __init__(self, users: int = 20_000, products: int = 2_000) -> None:
        random = Random("etar/shop")
        self.users = tuple(uuid5(_USER_IDS, str(rank)) for rank in range(users))
        self.countries = tuple(random.choices(tuple(_COUNTRIES), tuple(_COUNTRIES.values()), k=users))
        self.products = (None, *(f"P{rank:05d}" for rank in range(products)))
        """None, and then by rank."""
        self.prices = np.array([max(99, round(random.lognormvariate(7.6, 0.8))) for _ in range(products)])
        self.user_ranks = Zipf(users, 0.8)
        self.product_ranks = Zipf(products, 1.1)


class _Steps(NamedTuple):
    """Steps of visits, one a row."""

    session_id: npt.NDArray[np.uint8]
    user: npt.NDArray[np.intp]
    step: npt.NDArray[np.intp]
    code: npt.NDArray[np.intp]
    """Place among the error codes; 0: it succeeded."""
    product: npt.NDArray[np.intp]
    """Place among the shop's products; 0: none."""
    amount: npt.NDArray[np.int64]
    device: npt.NDArray[np.intp]
    lateness: npt.NDArray[np.int64]

    def part(self, first: int, end: int) -> _Steps:
        return _Steps._make(column[first:end] for column in self)

    def in_order(self, places: npt.NDArray[np.intp]) -> _Steps:
        return _Steps._make(column.take(places, axis=0) for column in self)


class EventFactory:
    """An endless, seeded sequence of events.

    ``concurrent`` visits are under way at any time; each event is the next step of one of them. The same arguments
    and the same instants give the same events, however many are asked for at a time. ``event_id`` follows from seed,
    worker and sequence alone, so two runs with one seed send the same ids.

    Args:
        errors: share of steps that fail, 0 to 1.
        late: share of visits that reach Kafka late, 0 to 1. Whole visits, as of a phone that was offline, so that the
            steps of a visit stay in order by event time.
        late_by: greatest lateness in milliseconds; a late visit is between half of it and all of it behind.
    """

    def __init__(
        self,
        *,
        seed: int,
        worker: int = 0,
        errors: float = 0.0,
        late: float = 0.0,
        late_by: int = 0,
        concurrent: int = 500,
        shop: Shop | None = None,
    ) -> None:
        self._chance = chance_of(f"{seed}/{worker}/visits")
        self._ids = chance_of(f"{seed}/{worker}/event ids")
        self._shop = shop or Shop()
        self._errors = errors
        self._late = late
        self._late_by = late_by
        self._session_ids = np.empty((concurrent, UUID_BYTES), np.uint8)
        self._users, self._devices, self._products, self._steps = np.zeros((4, concurrent), np.intp)
        self._carts, self._lateness = np.zeros((2, concurrent), np.int64)
        self._begin(np.arange(concurrent))
        self._round = self._next_round()
        self._given = 0

    def block(self, instants: npt.NDArray[np.int64]) -> Block:
        """The events that happen at some instants, in milliseconds since the epoch (earlier, if a visit is late)."""
        parts = [self._round.part(0, 0)]
        missing = len(instants)
        while missing:
            if self._given == len(self._round.step):
                self._round, self._given = self._next_round(), 0
            part = self._round.part(self._given, self._given + missing)
            parts.append(part)
            self._given += len(part.step)
            missing -= len(part.step)
        made = _Steps._make(map(np.concatenate, zip(*parts, strict=True)))
        shop = self._shop
        return {
            "event_id": _uuids(self._ids, len(instants)),
            "user_id": Drawn(shop.users, made.user),
            "session_id": made.session_id,
            "event_type": Drawn(EVENT_TYPES, made.step),
            "status": Drawn(STATUSES, np.where(made.code > 0, _ERROR, _SUCCESS)),
            "event_time": instants - made.lateness,
            "product_id": Drawn(shop.products, made.product),
            "amount": np.ma.masked_array(made.amount, made.amount == _NO_AMOUNT),
            "error_code": Drawn(_CODES, made.code),
            "device": Drawn(_DEVICE_NAMES, made.device),
            "country": Drawn(shop.countries, made.user),
        }

    def _next_round(self) -> _Steps:
        """A step of each visit, in an order of chance."""
        chance, step, visits = self._chance, self._steps.copy(), len(self._steps)
        viewing, adding = step == _VIEW, step == _ADD
        paying = (step == _CHECKOUT) | (step == _PURCHASE)
        self._products[viewing] = 1 + self._shop.product_ranks.draw(chance, int(viewing.sum()))
        amount = np.where(paying, self._carts, _NO_AMOUNT)
        quantity = _QUANTITY[chance.integers(0, _HUNDRED, int(adding.sum()))]
        amount[adding] = self._shop.prices[self._products[adding] - 1] * quantity
        failed = chance.random(visits) < self._errors
        made = _Steps(
            session_id=self._session_ids,
            user=self._users,
            step=step,
            code=np.where(failed, _CODE[step, chance.integers(0, _HUNDRED, visits)], 0),
            product=np.where(step == _SEARCH, 0, self._products),
            amount=amount,
            device=self._devices,
            lateness=self._lateness,
        ).in_order(chance.permutation(visits))
        self._carts += np.where(adding & ~failed, amount, 0)
        after_error = np.where(chance.random(visits) < _RETRIES_AFTER_ERROR, step, _LEFT)
        self._steps = np.where(failed, after_error, _NEXT[step, chance.integers(0, _HUNDRED, visits)])
        self._begin(np.flatnonzero(self._steps == _LEFT))
        return made

    def _begin(self, places: npt.NDArray[np.intp]) -> None:
        """Another visit in each of some places."""
        chance, visits = self._chance, len(places)
        self._users[places] = self._shop.user_ranks.draw(chance, visits)
        self._session_ids[places] = _uuids(chance, visits)
        self._devices[places] = _DEVICE[chance.integers(0, _HUNDRED, visits)]
        self._steps[places] = _FIRST[chance.integers(0, _HUNDRED, visits)]
        self._carts[places] = 0
        if self._late:
            late, behind = chance.random((2, visits))
            lateness = np.maximum(1, (self._late_by * (0.5 + behind / 2)).astype(np.int64))
            self._lateness[places] = np.where(late < self._late, lateness, 0)


def _uuids(chance: np.random.Generator, count: int) -> npt.NDArray[np.uint8]:
    """Random UUIDs (version 4)."""
    made = chance.integers(0, 256, (count, UUID_BYTES), dtype=np.uint8)
    made[:, 6] = made[:, 6] & 0x0F | 0x40
    made[:, 8] = made[:, 8] & 0x3F | 0x80
    return made
