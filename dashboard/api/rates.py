"""How often a token, or whoever has none, may ask: so that a program that has gone wrong leaves room for the others."""

from __future__ import annotations

import time
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

_KEPT: Final = 10_000
_OF_IPV6: Final = 64
"""Bits of an address that are one customer's: whoever has one IPv6 address has the 2**64 beside it."""


class TooManyRequestsError(Exception):
    """No more for now; ``seconds``: until there is."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(f"{message}; try again in {seconds} s")
        self.seconds = seconds


class Rates:
    """Counts in the memory of this process, in minutes that begin with a first request; 0 is no limit.

    Args:
        requests: a minute, of each token.
        refusals: a minute, of each address: requests without a token, or with one that is not known.
    """

    def __init__(self, *, requests: int, refusals: int) -> None:
        self._requests = RateLimitItemPerMinute(requests) if requests else None
        self._refusals = RateLimitItemPerMinute(refusals) if refusals else None
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._seen: dict[tuple[str, str], None] = {}

    async def count(self, token: str, address: str) -> None:
        """A request with a token that is good, by its name.

        While its address has had too many refusals, a token that is new there is refused as well. Else a right guess
        would stand out among wrong ones, and nothing would be slower. Who was there before goes on.

        Raises:
            TooManyRequestsError: of the token, or of its address.
        """
        who = (_network(address), token)
        if who not in self._seen:
            await self._require_room(address)
            self._seen[who] = None
            if len(self._seen) > _KEPT:
                del self._seen[next(iter(self._seen))]
        limit = self._requests
        if limit and not await self._limiter.hit(limit, "token", token):
            raise TooManyRequestsError(
                f"this token has asked {limit.amount} times in a minute", await self._wait(limit, "token", token)
            )

    async def count_refusal(self, address: str) -> None:
        """A request without a token that is known.

        Raises:
            TooManyRequestsError: of its address.
        """
        await self._require_room(address)
        if self._refusals:
            await self._limiter.hit(self._refusals, "address", _network(address))

    async def _require_room(self, address: str) -> None:
        limit, of = self._refusals, ("address", _network(address))
        if limit and not await self._limiter.test(limit, *of):
            raise TooManyRequestsError(
                f"from this address {limit.amount} requests in a minute had no good token", await self._wait(limit, *of)
            )

    async def _wait(self, limit: RateLimitItemPerMinute, *of: str) -> int:
        stats = await self._limiter.get_window_stats(limit, *of)
        return max(1, ceil(stats.reset_time - time.time()))


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(IPv6Address(int(parsed) >> _OF_IPV6 << _OF_IPV6))
    return address
