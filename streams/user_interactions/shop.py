"""Seeded e-commerce traffic: users who search, look, and sometimes buy. Pure; time comes in with every call."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final, Generic, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from .event import UserEvent

_T = TypeVar("_T")

_EVENT_IDS = uuid5(NAMESPACE_URL, "etar/events")
_USER_IDS = uuid5(NAMESPACE_URL, "etar/users")


class Zipf:
    """Ranks ``0 … size-1``, rank r drawn with a weight of ``1 / (r+1)**exponent``: few are popular, most are rare."""

    def __init__(self, size: int, exponent: float) -> None:
        self._cumulative = list(accumulate(1 / rank**exponent for rank in range(1, size + 1)))

    def draw(self, random: Random) -> int:
        # min: a product that rounds up to the total would fall off the end.
        return min(bisect(self._cumulative, random.random() * self._cumulative[-1]), len(self._cumulative) - 1)


class Weighted(Generic[_T]):
    """A fixed choice among values of different weight."""

    def __init__(self, weights: dict[_T, float]) -> None:
        self._values = tuple(weights)
        self._cumulative = list(accumulate(weights.values()))

    def draw(self, random: Random) -> _T:
        at = bisect(self._cumulative, random.random() * self._cumulative[-1])
        return self._values[min(at, len(self._values) - 1)]


_COUNTRIES = Weighted({"DE": 24, "US": 20, "GB": 12, "FR": 11, "ES": 8, "IT": 7, "NL": 6, "PL": 5, "JP": 4, "BR": 3})
_DEVICES = Weighted({"mobile": 62, "desktop": 33, "tablet": 5})
_QUANTITIES = Weighted({1: 85, 2: 12, 3: 3})

LEAVE: Final = "leave"

_FIRST_STEP = Weighted({"view": 70, "search": 30})

_NEXT_STEP = {
    "search": Weighted({"view": 75, "search": 10, LEAVE: 15}),
    "view": Weighted({"click": 35, "view": 35, "search": 8, LEAVE: 22}),
    "click": Weighted({"add_to_cart": 35, "view": 40, LEAVE: 25}),
    "add_to_cart": Weighted({"checkout": 45, "view": 35, LEAVE: 20}),
    "checkout": Weighted({"purchase": 75, LEAVE: 25}),
    "purchase": Weighted({LEAVE: 1}),
}
"""After a success. A step of the funnel is reached only from the one before it."""

_ERROR_CODES = {
    "search": Weighted({"search_unavailable": 50, "query_too_long": 20, "upstream_timeout": 30}),
    "view": Weighted({"product_not_found": 60, "upstream_timeout": 40}),
    "click": Weighted({"upstream_timeout": 70, "internal_error": 30}),
    "add_to_cart": Weighted({"out_of_stock": 75, "session_expired": 25}),
    "checkout": Weighted({"payment_declined": 55, "address_invalid": 30, "session_expired": 15}),
    "purchase": Weighted({"payment_declined": 60, "payment_timeout": 30, "fraud_suspected": 10}),
}

_RETRIES_AFTER_ERROR = 0.6


@dataclass(frozen=True)
class _User:
    user_id: UUID
    country: str


@dataclass(frozen=True)
class _Product:
    product_id: str
    price: int


class Shop:
    """Who comes and what there is to buy: the same in every run, so that users come back from run to run."""

    def __init__(self, users: int = 20_000, products: int = 2_000) -> None:
        random = Random("etar/shop")
        self._users = [_User(uuid5(_USER_IDS, str(rank)), _COUNTRIES.draw(random)) for rank in range(users)]
        self._products = [
            _Product(f"P{rank:05d}", max(99, round(random.lognormvariate(7.6, 0.8)))) for rank in range(products)
        ]
        self._user_ranks = Zipf(users, 0.8)
        self._product_ranks = Zipf(products, 1.1)

    def visitor(self, random: Random) -> _User:
        return self._users[self._user_ranks.draw(random)]

    def product(self, random: Random) -> _Product:
        return self._products[self._product_ranks.draw(random)]


class _Session:
    """One visit: where the user is in the funnel and what is in the cart."""

    __slots__ = ("cart", "device", "lateness", "product", "session_id", "step", "user")

    def __init__(self, shop: Shop, random: Random, lateness: int) -> None:
        self.user = shop.visitor(random)
        self.session_id = UUID(int=random.getrandbits(128), version=4)
        self.device = _DEVICES.draw(random)
        self.step = _FIRST_STEP.draw(random)
        self.product = shop.product(random)
        self.cart = 0
        self.lateness = lateness


class EventFactory:
    """An endless, seeded sequence of events.

    ``concurrent`` visits are under way at any time; each event is the next step of one of them. The same arguments
    and the same instants give the same events. ``event_id`` follows from seed, worker and sequence alone, so two runs
    with one seed send the same ids.

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
        self._random = Random(f"{seed}/{worker}/visits")
        self._origin = f"{seed}/{worker}"
        self._shop = shop or Shop()
        self._errors = errors
        self._late = late
        self._late_by = late_by
        self._sequence = 0
        self._sessions = [self._visit() for _ in range(concurrent)]

    def next(self, at: int) -> UserEvent:
        """The event that happens at ``at``, in milliseconds since the epoch (earlier, if its visit is late)."""
        random = self._random
        slot = int(random.random() * len(self._sessions))
        session = self._sessions[slot]
        step = session.step
        product_id, amount = self._act(session)
        failed = random.random() < self._errors
        event = UserEvent(
            event_id=uuid5(_EVENT_IDS, f"{self._origin}/{self._sequence}"),
            user_id=session.user.user_id,
            session_id=session.session_id,
            event_type=step,
            status="error" if failed else "success",
            event_time=at - session.lateness,
            product_id=product_id,
            amount=amount,
            error_code=_ERROR_CODES[step].draw(random) if failed else None,
            device=session.device,
            country=session.user.country,
        )
        self._sequence += 1
        if not failed:
            if step == "add_to_cart":
                session.cart += amount or 0
            session.step = _NEXT_STEP[step].draw(random)
        elif random.random() >= _RETRIES_AFTER_ERROR:
            session.step = LEAVE
        if session.step == LEAVE:
            self._sessions[slot] = self._visit()
        return event

    def _act(self, session: _Session) -> tuple[str | None, int | None]:
        """Product and amount of the visit's next step."""
        if session.step == "search":
            return None, None
        if session.step == "view":
            session.product = self._shop.product(self._random)
        if session.step == "add_to_cart":
            return session.product.product_id, session.product.price * _QUANTITIES.draw(self._random)
        if session.step in ("checkout", "purchase"):
            return session.product.product_id, session.cart
        return session.product.product_id, None

    def _visit(self) -> _Session:
        random = self._random
        lateness = 0
        if random.random() < self._late:
            lateness = max(1, int(self._late_by * random.uniform(0.5, 1.0)))
        return _Session(self._shop, random, lateness)
