"""What the sink says of its work: one line a minute."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from time import monotonic

from etar.records.intake import Decoded

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0


class Summary:
    """Adds up what batches came to, and says it once a minute; of a minute in which nothing came, nothing."""

    def __init__(self, behind: Callable[[], int], *, now: Callable[[], float] = monotonic) -> None:
        """``behind``: how many records Kafka holds that were not taken yet; ``now``: a monotonic clock (s)."""
        self._behind = behind
        self._now = now
        self._begin()

    def add(self, stored: Decoded) -> None:
        """What a batch that is stored has come to."""
        self._rows += len(stored.rows)
        self._letters.update(letter.reason.value for letter in stored.letters)

    def look(self) -> None:
        """Say it where a minute has passed since it was last said."""
        if self._now() - self._began >= _EVERY_SECONDS:
            self.say()

    def say(self) -> None:
        """Say what has come since it was last said, however long ago that is."""
        letters = self._letters.total()
        if records := self._rows + letters:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self._letters.most_common())
            _log.log(
                logging.WARNING if letters else logging.INFO,
                "%.0f s: %s records, %s rows, %s dead letters%s; %s behind",
                self._now() - self._began,
                f"{records:,}",
                f"{self._rows:,}",
                f"{letters:,}",
                f" ({reasons})" if reasons else "",
                f"{self._behind():,}",
            )
        self._begin()

    def _begin(self) -> None:
        self._began = self._now()
        self._rows = 0
        self._letters: Counter[str] = Counter()
