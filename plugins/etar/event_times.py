"""Which event times a stream's records may have, for every record that is made or read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etar.instants import MILLISECOND
from etar.settings import EventTimeSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class EventTimeBounds:
    """:meth:`EventTimeSettings.believes` in whole milliseconds, for every record of a stream."""

    behind_ms: float
    ahead_ms: float

    @classmethod
    def of(cls, settings: EventTimeSettings) -> EventTimeBounds:
        return cls(behind_ms=settings.horizon / MILLISECOND, ahead_ms=settings.max_ahead / MILLISECOND)

    def believe(self, event_ms: int, appended_ms: int) -> bool:
        return appended_ms - self.behind_ms < event_ms <= appended_ms + self.ahead_ms

    def believe_each(
        self, event_ms: npt.NDArray[np.int64], appended_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """:meth:`believe` of many."""
        return (appended_ms - self.behind_ms < event_ms) & (event_ms <= appended_ms + self.ahead_ms)
