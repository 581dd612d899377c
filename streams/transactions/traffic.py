"""Made-up sales: users who come back, products of each category by their popularity, amounts of any number of cents."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt

from etar.rows.blocks import UUID_BYTES, Block, Drawn, chance_of

from .catalogue import PRODUCTS
from .report import PAYMENT_METHODS

_USERS = tuple(f"user_{number}" for number in range(10_000, 30_000))
_CHEAPEST, _DEAREST = 1_000, 99_999
_AMOUNTS = tuple(Decimal(cents).scaleb(-2) for cents in range(_CHEAPEST, _DEAREST + 1))
_ORDINARY, _SOME = 50, 10
"""Of a category that these do not have: a typical amount, and its share."""
_TYPICAL = {"Electronics": 300, "Fashion": 80, "Beauty": 35, "Home": 120, "Sports": 90, "Grocery": 25}
_SHARES = {"Electronics": 22, "Fashion": 24, "Beauty": 14, "Home": 14, "Sports": 11, "Grocery": 15}
_PAID = {"credit_card": 55, "debit_card": 25, "paypal": 20}

_SOLD = tuple((category, product) for category, products in PRODUCTS.items() for product in products)
_CATEGORY_OF = tuple(category for category, _ in _SOLD)
_PRODUCT = tuple(product for _, product in _SOLD)
_TYPICAL_CENTS = np.array([100 * _TYPICAL.get(category, _ORDINARY) for category in _CATEGORY_OF])


def _up_to(weights: list[float]) -> npt.NDArray[np.float64]:
    """A number from 0 to 1 is drawn; the first of these that is above it is of the place that was drawn."""
    ends = np.cumsum(weights) / sum(weights)
    ends[-1] = 1.0
    return ends


_SALES_UP_TO = _up_to([_SHARES.get(category, _SOME) / len(PRODUCTS[category]) for category in _CATEGORY_OF])
_PAID_UP_TO = _up_to([_PAID[method] for method in PAYMENT_METHODS])


class Traffic:
    """What ``etar produce`` sends when no file is named (``producer/traffic.py`` says what it asks for).

    Args:
        seed, worker: the same two make the same events.
        rate: events a second; what is sold does not depend on it.
    """

    def __init__(self, *, seed: int, worker: int, rate: float) -> None:  # noqa: ARG002
        self._ids = chance_of(f"{seed}/{worker}/transaction ids")
        self._chance = chance_of(f"{seed}/{worker}/sales")
        self._spread = chance_of(f"{seed}/{worker}/amounts")

    def block(self, instants: npt.NDArray[np.int64]) -> Block:
        """The sales of some instants, in milliseconds since the epoch."""
        count = len(instants)
        user, product, paid = self._chance.random((count, 3)).T
        sold = np.searchsorted(_SALES_UP_TO, product, side="right")
        cents = _TYPICAL_CENTS[sold] * np.exp(0.7 * self._normal(count))
        return {
            "transaction_id": self._uuids(count),
            # Squared: some users come much more often than others.
            "user_id": Drawn(_USERS, (user**2 * len(_USERS)).astype(np.intp)),
            "product_category": Drawn(_CATEGORY_OF, sold),
            "product_name": Drawn(_PRODUCT, sold),
            "amount": Drawn(_AMOUNTS, np.clip(np.rint(cents), _CHEAPEST, _DEAREST).astype(np.intp) - _CHEAPEST),
            "timestamp": np.datetime_as_string(instants.astype("M8[ms]"), timezone="UTC").tolist(),
            "payment_method": Drawn(PAYMENT_METHODS, np.searchsorted(_PAID_UP_TO, paid, side="right")),
        }

    def _normal(self, count: int) -> npt.NDArray[np.float64]:
        """Normally distributed, near enough, from as many numbers for each event: NumPy's own takes more for some."""
        return self._spread.random((count, 12)).sum(axis=1) - 6.0  # type: ignore[no-any-return]

    def _uuids(self, count: int) -> npt.NDArray[np.uint8]:
        """Random UUIDs (version 4)."""
        made = self._ids.integers(0, 256, (count, UUID_BYTES), dtype=np.uint8)
        made[:, 6] = made[:, 6] & 0x0F | 0x40
        made[:, 8] = made[:, 8] & 0x3F | 0x80
        return made
