"""What an account comes to on the page: its answer in words, the flow of its records, and a line for each partition.
Pure functions of the API's answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from dashboard.ui.accounting import REVISED, UNDER_WAY
from dashboard.ui.client import Snapshot
from dashboard.ui.figures import ERROR, SUCCESS
from dashboard.ui.freshness import Level, Notice, away
from etar.account import Account, Answer, PartitionAccount
from etar.minute import MinuteWindow

SPANS = {1: "1 hour", 6: "6 hours", 24: "24 hours"}
"""Hours that a range may have, and its name."""

_HATCHED = f"repeating-linear-gradient(135deg, {ERROR} 0 4px, transparent 4px 7px)"
"""Of what is not as it should be: seen without color, too."""

_SIGNS = {Answer.EXACT: "✓", Answer.DIFFERENT: "≠", Answer.NOT_VERIFIED: "?"}


def asked_for(hours: str | None, to: str | None, *, now: datetime) -> tuple[int, MinuteWindow | None]:
    """The range that a page's address names: how many hours, and its end; None for the newest.

    Raises:
        ValueError: it names none, and says why.
    """
    if hours is not None and hours not in map(str, SPANS):
        raise ValueError(f"{hours!r} is no number of hours that can be shown: {', '.join(map(str, SPANS))}")
    end = None if to is None else MinuteWindow.parse(to)
    if end is not None and not now - timedelta(days=10_000) < end.start <= now:
        raise ValueError(f"{end} is not the end of a range that has been")
    return int(hours or next(iter(SPANS))), end


@dataclass(frozen=True)
class Verdict:
    """The answer as it is shown."""

    answer: Answer
    text: str


def verdict(snapshot: Snapshot[Account]) -> Verdict | None:
    """The answer in Markdown; None before there is one. What cannot be asked now is not verified, whatever it was."""
    account = snapshot.newest
    if account is None:
        return None
    if snapshot.problem is not None:
        at = f"{snapshot.taken_at:%H:%M:%S} UTC" if snapshot.taken_at else "an earlier time"
        return Verdict(Answer.NOT_VERIFIED, f"**Not verified now.** At {at} the answer was: {account.answer}.")
    return Verdict(account.answer, _SAID[account.answer](account))


def _exact(account: Account) -> str:
    if not account.records:
        return "**Exact.** No record arrived."
    said = "The one record is" if account.records == 1 else f"Each of {account.records:,} records is"
    return f"**Exact.** {said} accounted for."


def _different(account: Account) -> str:
    one = "record is" if account.difference == 1 else "records are"
    return f"**Different.** {account.difference:,} {one} not accounted for, of {account.records:,}."


def _not_verified(account: Account) -> str:
    doubtful = [line.partition for line in account.partitions if line.answer is Answer.NOT_VERIFIED]
    said = [*account.reasons]
    if doubtful:
        named = f"partition {doubtful[0]}" if len(doubtful) == 1 else f"partitions {', '.join(map(str, doubtful))}"
        said.append(f"of {named} it cannot be told: see below")
    return f"**Not verified.** {_sentence('; '.join(said))}"


_SAID = {Answer.EXACT: _exact, Answer.DIFFERENT: _different, Answer.NOT_VERIFIED: _not_verified}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def notice(snapshot: Snapshot[Account]) -> Notice | None:
    """What a viewer must know first."""
    if snapshot.problem is not None:
        return away(snapshot)
    if snapshot.newest is not None and snapshot.newest.verified_through is None:
        return Notice(
            Level.INFO,
            "**Nothing is audited yet.** A minute is closed some seconds after it has ended, by `etar_audit` in "
            "Airflow: the account begins with the first.",
        )
    return None


def told(account: Account) -> str:
    """Of which time the numbers are, and how far it is verified, in Markdown."""
    through = account.verified_through
    verified = "nothing verified yet" if through is None else f"verified through **{_time(through, account.end)}**"
    last = f"{_time(account.compared_to, account.first)}"
    return f"Arrived from {account.first:%Y-%m-%d %H:%M} to {last} UTC · {verified}"


def _time(instant: datetime, beside: datetime) -> str:
    return f"{instant:%H:%M}" if instant.date() == beside.date() else f"{instant:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Term:
    """A part of the equation. ``before`` and ``share``, of the whole, say where its bar begins, and its length."""

    sign: str
    name: str
    count: int
    about: str
    color: str
    before: float
    share: float


def terms(account: Account) -> list[Term]:
    """First what Kafka acknowledged, then what became of it, in the order of its way; what is 0 and seldom anything
    else is left out."""
    left = [("", "Acknowledged by Kafka", account.records, "offsets that hold a record", "currentColor")]
    if account.only_reported:
        about = "reports count them, and the auditor does not"
        left.append(("+", "Only in reports", account.only_reported, about, _HATCHED))
    kept = "not good records; kept, with the reason"
    right = [
        ("=", "Events in reports", account.events, "each counted once", SUCCESS),
        ("+", "Duplicates", account.duplicates, "the same event once more", REVISED),
    ]
    if account.too_late is None:
        right.append(("+", "Bad or too late", account.bad, kept, UNDER_WAY))
    else:
        right.append(("+", "Too late", account.too_late, "their minute can no longer be reported", UNDER_WAY))
        right.append(("+", "Bad records", account.bad, kept, UNDER_WAY))
    over = account.lost + account.not_reported
    right.append(("+", "Difference", over, _of_difference(account), _HATCHED))
    return [*_placed(left), *_placed(right)]


def _placed(parts: Sequence[tuple[str, str, int, str, str]]) -> Iterator[Term]:
    """Each where the one before has ended."""
    whole = max(1, sum(count for _, _, count, _, _ in parts))
    before = 0
    for sign, name, count, about, color in parts:
        yield Term(sign, name, count, about, color, before / whole, count / whole)
        before += count


def _of_difference(account: Account) -> str:
    named = {"lost": account.lost, "in no report (yet)": account.not_reported}
    return ", ".join(f"{count:,} {name}" for name, count in named.items() if count) or "nothing is left over"


def drawing(account: Account) -> str:
    """The flow as HTML: a table that reads like the equation, each part with a bar that begins where the one before
    has ended. Words and numbers say it all; no color is needed."""
    rows = "".join(map(_row, terms(account)))
    head = _head(("", "Records", "What became of them", "Share"), hidden=True)
    return f'<table style="width: 100%; border-collapse: collapse">{head}<tbody>{rows}</tbody></table>'


def _row(term: Term) -> str:
    return (
        f'<tr><td style="{_NARROW}">{term.sign}</td><td style="{_NUMBER}">{term.count:,}</td>'
        f'<th scope="row" style="{_NAME}">{escape(term.name)}<br>'
        f'<small style="font-weight: normal; opacity: 0.75">{escape(term.about)}</small></th>'
        f'<td style="width: 55%; border: 0; vertical-align: middle" aria-hidden="true">{_bar(term)}</td></tr>'
    )


def _bar(term: Term) -> str:
    """However few they are, if there are any it is seen."""
    least = "3px" if term.count else "0px"
    begins, length = f"{100 * term.before:.2f}%", f"{100 * term.share:.2f}%"
    return (
        f'<div style="margin-left: min({begins}, calc(100% - {least})); width: {length}; min-width: {least}; '
        f'height: 1rem; background: {term.color}; border-radius: 2px"></div>'
    )


_CELL = "padding: 0.25rem 0.6rem 0.25rem 0; vertical-align: top; border: 0; "
_NARROW = f"{_CELL}width: 1rem; font-weight: bold"
_NUMBER = f"{_CELL}text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap"
_NAME = f"{_CELL}text-align: left"
_OF_WORDS = ("Answer", "Why", "What became of them", "Share")
"""Columns that are read from the left; the others are of numbers."""
_UNSEEN = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)"


def partitions_table(account: Account) -> str:
    """A line for each partition as HTML, with its answer as sign and word. Wider than a phone, it scrolls by finger and
    by keyboard."""
    names = ("Partition", "Answer", "Records", "In reports", "Too late", "Bad", "Difference", "Why")
    rows = "".join(f"<tr>{''.join(_cells(line))}</tr>" for line in account.partitions)
    return (
        '<div role="region" aria-label="Partitions" tabindex="0" style="overflow-x: auto">'
        f'<table style="border-collapse: collapse">{_head(names)}<tbody>{rows}</tbody></table></div>'
    )


def _cells(line: PartitionAccount) -> Iterator[str]:
    numbers: Sequence[int | None] = (line.records, line.in_reports, line.too_late, line.bad, line.difference)
    yield f'<th scope="row" style="{_NUMBER}">{line.partition}</th>'
    yield f'<td style="{_NAME}; white-space: nowrap">{_SIGNS[line.answer]} {line.answer}</td>'
    for number in numbers:
        yield f'<td style="{_NUMBER}">{"-" if number is None else f"{number:,}"}</td>'
    yield f'<td style="{_NAME}; min-width: 14rem">{escape(line.why or "")}</td>'


def _head(names: Iterable[str], *, hidden: bool = False) -> str:
    unseen = _UNSEEN if hidden else ""
    cells = "".join(
        f'<th scope="col" style="{_NAME if name in _OF_WORDS else _NUMBER}">'
        f'<span style="{unseen}">{escape(name)}</span></th>'
        for name in names
    )
    return f"<thead><tr>{cells}</tr></thead>"
