"""Dead letters as the report API tells them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from dashboard.ui.client import FoundLetters
from etar.dead_letters import Reason
from etar.dead_letters.answer import (
    Bytes,
    Leaf,
    LetterBucket,
    LetterChange,
    LetterCounts,
    LetterReplay,
    ListedLetter,
    WholeLetter,
)
from etar.dead_letters.letters import State

DAY = date(2026, 11, 21)
START = datetime(2026, 11, 21, tzinfo=UTC)
AT = START + timedelta(hours=10, minutes=31, seconds=7, milliseconds=250)


def a_listed_letter(**other: Any) -> ListedLetter:
    given: dict[str, Any] = {
        "partition": 3,
        "offset": 1042,
        "appended_at": AT,
        "reason": Reason.MISSING_OR_WRONG_FIELD,
        "detail": "amount: expected a number, got text",
        "field": "amount",
        "state": State.OPEN,
        "size": 77,
    }
    return ListedLetter(**(given | other))


def a_letter(**other: Any) -> WholeLetter:
    given: dict[str, Any] = {
        **a_listed_letter().model_dump(),
        "stream": "user_interactions",
        "form": "Avro",
        "schema_id": 1,
        "fault": None,
        "leaves": (
            Leaf(path="event_id", value='"e-1"', failing=False),
            Leaf(path="amount", value='"<b>x</b>"', failing=True),
        ),
        "leaves_left_out": 0,
        "pointer": "/amount",
        "there": True,
        "key": None,
        "value": Bytes(size=77, lines=("00000000  00", "00000010  01")),
        "fixed": None,
        "headers": (),
        "changes": (),
        "replays": (),
    }
    return WholeLetter(**(given | other))


def a_change(action: str, detail: str = "{}") -> LetterChange:
    return LetterChange(at=AT, by="ana", action=action, command="etar dead-letters", detail=detail)


def a_replay(offset: int | None) -> LetterReplay:
    sent = None if offset is None else AT
    return LetterReplay(
        log="user_interactions", partition=3, offset=offset, begun_at=AT, sent_at=sent, withdrawn_at=None
    )


def found_letters(*buckets: tuple[int, dict[Reason, int]], listed: int = 1, more: bool = False) -> FoundLetters:
    """``buckets``: hour of the day, and letters by reason."""
    counts = LetterCounts(
        stream="user_interactions",
        start=START,
        end=START + timedelta(days=1),
        seconds=3600,
        total=sum(sum(reasons.values()) for _, reasons in buckets),
        buckets=tuple(LetterBucket(start=START + timedelta(hours=hour), reasons=reasons) for hour, reasons in buckets),
        fields={"amount": 1},
    )
    return FoundLetters(counts, tuple(a_listed_letter(offset=number) for number in range(listed)), more)
