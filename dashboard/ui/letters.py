"""What a stream's dead letters come to on the page: bars by reason, a table, and one letter with the field that is at
fault, what came of it, and the commands that do something about it. Pure functions of the API's answer."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import plotly.graph_objects as go

from dashboard.ui import day as days
from dashboard.ui.client import FoundLetters, Snapshot
from dashboard.ui.freshness import Level, Notice
from dashboard.ui.times import IN_UTC, Clock
from etar.dead_letters import Reason
from etar.dead_letters.answer import LetterCounts, ListedLetter, WholeLetter
from etar.dead_letters.letters import LetterId, State, UnknownLetterError
from etar.streams import DEFAULT_STREAM

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

STATES = (State.OPEN, State.REPLAYED, State.DISCARDED)
"""Of letters that are filed: others are in no list."""

MARK = "▶"
NOT_THERE = "is not there"
_NEW_VALUE = "THE RIGHT VALUE"
_FAILING = "color: #D55E00; font-weight: bold"
_HOUR_MS = 3_600_000
_TO_A_SECOND = "%Y-%m-%d %H:%M:%S"


class Look(NamedTuple):
    """How a reason is drawn: a color, and a pattern that needs no color."""

    color: str
    pattern: str


LOOKS = {
    Reason.NULL_VALUE: Look("#8C8C8C", ""),
    Reason.EMPTY_VALUE: Look("#BDBDBD", "."),
    Reason.NOT_AVRO: Look("#56B4E9", "x"),
    Reason.NOT_JSON: Look("#009E73", "|"),
    Reason.UNKNOWN_SCHEMA_ID: Look("#F0E442", "-"),
    Reason.UNSUPPORTED_SCHEMA: Look("#B39B00", "|"),
    Reason.TRUNCATED: Look("#D55E00", "\\"),
    Reason.TRAILING_BYTES: Look("#CC79A7", "/"),
    Reason.MISSING_OR_WRONG_FIELD: Look("#0072B2", ""),
    Reason.OUT_OF_RANGE: Look("#E69F00", "+"),
    Reason.EVENT_TIME_OUT_OF_BOUNDS: Look("#7A5195", "."),
    Reason.TOO_LATE: Look("#8C564B", "x"),
    Reason.INSERT_REFUSED: Look("#A00000", "-"),
}


@dataclass(frozen=True)
class Asked:
    """What a viewer looks at. ``day``: None for the newest, also after midnight."""

    day: date | None = None
    reason: Reason | None = None
    field: str | None = None
    state: State | None = None
    letter: LetterId | None = None

    @property
    def narrowed(self) -> tuple[tuple[str, str], ...]:
        """The filters, as the API has them."""
        given = {"reason": self.reason, "field": self.field, "state": self.state}
        return tuple((name, str(value)) for name, value in given.items() if value is not None)

    @property
    def address(self) -> dict[str, str]:
        """The same in the page's address."""
        given = {"day": self.day, "letter": self.letter}
        return {name: str(value) for name, value in given.items() if value is not None} | dict(self.narrowed)


def asked_for(address: Mapping[str, str], *, today: date) -> Asked:
    """What the page's address says.

    Raises:
        ValueError: a part of it is not written like one.
    """
    day, _ = days.asked_for(address.get("day"), None, today=today)
    reason, state, letter = address.get("reason"), address.get("state"), address.get("letter")
    try:
        return Asked(
            day=None if day == today else day,
            reason=Reason(reason) if reason else None,
            field=address.get("field") or None,
            state=_filed(state) if state else None,
            letter=LetterId.parse(letter) if letter else None,
        )
    except UnknownLetterError as error:
        raise ValueError(str(error)) from error


def _filed(state: str) -> State:
    if state not in STATES:
        raise ValueError(f"{state!r} is none of {', '.join(STATES)}")
    return State(state)


def words(reason: Reason) -> str:
    return reason.value.replace("_", " ")


def notice(snapshot: Snapshot[FoundLetters], asked: Asked, day: date, clock: Clock = IN_UTC) -> Notice | None:
    """What a viewer must know before all else, if anything."""
    if snapshot.problem is not None:
        at = snapshot.taken_at
        shown = f"Below is what was known at {clock.said(at)}." if at else "There is nothing to show yet."
        return Notice(Level.ERROR, f"**Dead letters cannot be read now.** {snapshot.problem}. {shown}")
    found = snapshot.newest
    if found is None or found.listed or found.more:
        return None
    if asked.narrowed:
        return Notice(Level.INFO, f"**No dead letter of {day} is like that.** Take a filter away to see the others.")
    return Notice(
        Level.INFO, f"**No dead letters on {day}.** No record that arrived that day was bad, as far as known."
    )


def summary(found: FoundLetters, day: date) -> str:
    """How many there are of which reason, the most first, in a line of Markdown."""
    totals = _totals(found.counts)
    count = f"{found.counts.total:,} dead letter{'' if found.counts.total == 1 else 's'}"
    said = [f"**{count}** on {day}", *(f"{words(reason)} {letters:,}" for reason, letters in totals.most_common())]
    return " · ".join(said)


def figure(counts: LetterCounts) -> go.Figure:
    """A bar an hour, of as many parts as there are reasons."""
    totals = _totals(counts)
    figure = go.Figure()
    half = timedelta(seconds=counts.seconds / 2)
    for reason in (reason for reason in Reason if totals[reason]):
        look = LOOKS[reason]
        held = [bucket for bucket in counts.buckets if reason in bucket.reasons]
        figure.add_bar(
            name=f"{words(reason)} {totals[reason]:,}",
            x=[bucket.start + half for bucket in held],
            y=[bucket.reasons[reason] for bucket in held],
            customdata=[f"{bucket.start:%H:%M}" for bucket in held],
            width=0.8 * counts.seconds * 1000,
            marker={
                "color": look.color,
                "line": {"width": 1, "color": "#444444"},
                "pattern": {
                    "shape": look.pattern,
                    "fillmode": "overlay",
                    "fgcolor": "#222222",
                    "size": 7,
                    "solidity": 0.2,
                },
            },
            hovertemplate=f"%{{customdata}} UTC: %{{y:,}} {words(reason)}<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        height=300,
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.33, "xanchor": "left", "yanchor": "top", "traceorder": "normal"},
        uirevision="dead-letters",
    )
    figure.update_xaxes(
        range=[counts.start, counts.end], showgrid=False, tickformat="%H:%M", tick0=counts.start, dtick=3 * _HOUR_MS
    )
    highest = max((sum(bucket.reasons.values()) for bucket in counts.buckets), default=1)
    figure.update_yaxes(range=[0, highest * 1.1], nticks=5, tickformat=",d")
    return figure


def rows(listed: Sequence[ListedLetter], clock: Clock = IN_UTC) -> list[dict[str, Any]]:
    """The table, as it is listed."""
    here = clock.cells("Appended", [letter.appended_at for letter in listed], "%H:%M:%S")
    return [
        {
            "Appended (UTC)": f"{letter.appended_at:%H:%M:%S.%f}"[:-3],
            **times,
            "Letter": letter.name,
            "Reason": words(letter.reason),
            "Field": letter.field or "",
            "State": letter.state.value,
            "Bytes": letter.size,
            "What was wrong": letter.detail,
        }
        for letter, times in zip(listed, here, strict=True)
    ]


def fields_table(letter: WholeLetter) -> Styler:
    """The record's values, a row each; the one at fault has a mark, and stands out."""
    import pandas

    frame = pandas.DataFrame(
        {
            "": [MARK if leaf.failing else "" for leaf in letter.leaves],
            "Field": [leaf.path for leaf in letter.leaves],
            "Value": [NOT_THERE if leaf.value is None else leaf.value for leaf in letter.leaves],
        },
        dtype="str",
    )
    styles = pandas.DataFrame(
        [dict.fromkeys(frame.columns, _FAILING if leaf.failing else "") for leaf in letter.leaves],
        columns=frame.columns,
    )
    return frame.style.apply(lambda _: styles, axis=None)


def appended(letter: WholeLetter, clock: Clock = IN_UTC) -> str:
    """When Kafka took it: in UTC to a millisecond, and by the viewer's clock."""
    here = clock.beside(letter.appended_at, _TO_A_SECOND)
    return f"{letter.appended_at:{_TO_A_SECOND}.%f}"[:-3] + f" UTC{f', {here}' if here else ''}"


def read_as(letter: WholeLetter) -> str:
    """What the value is, as far as can be told."""
    size = "without a value" if letter.size is None else f"{letter.size:,} bytes"
    schema = "" if letter.schema_id is None else f", schema id {letter.schema_id}"
    return f"{size}, read as {letter.form}{schema}{f': {letter.fault}' if letter.fault else ''}"


def outcome(letter: WholeLetter, clock: Clock = IN_UTC) -> str:
    """What came of it, in a sentence."""
    if letter.state is State.UNFILED:
        return "Not filed yet: Kafka Connect gave it up, and the auditor decides within minutes what it is."
    done = next((change for change in reversed(letter.changes) if change.action == letter.state.value), None)
    by = f" by {done.by}, {clock.said(done.at)}" if done else ""
    if letter.state is State.DISCARDED:
        return f"Discarded{by}: {done.detail if done else ''}"
    if letter.state is State.REPLAYED:
        arrived = [sent for sent in letter.replays if sent.offset is not None]
        if arrived:
            return f"Replayed as {arrived[-1].partition}:{arrived[-1].offset} of {arrived[-1].log}{by}."
        return f"Replayed{by}, but it is not known whether Kafka has it: the next `replay --apply` finds out."
    fixed = f" It was fixed: a replay sends {letter.fixed.size:,} bytes." if letter.fixed else ""
    return f"Waiting: it is neither replayed nor discarded.{fixed}"


def history(letter: WholeLetter, clock: Clock = IN_UTC) -> list[dict[str, str]]:
    """What was done about it, the oldest first."""
    here = clock.cells("At", [change.at for change in letter.changes], _TO_A_SECOND)
    return [
        {
            "At (UTC)": f"{change.at:{_TO_A_SECOND}}",
            **times,
            "By": change.by,
            "What": change.action.replace("_", " "),
            "Detail": change.detail,
            "Command": change.command,
        }
        for change, times in zip(letter.changes, here, strict=True)
    ]


def commands(letter: WholeLetter) -> dict[str, str]:
    """What can be done about it, each as a line for a shell."""
    name = letter.name
    why = ["--reason-text", "WHY"]
    can: dict[str, list[str]] = {}
    if letter.state is State.OPEN:
        can = {
            "Fix it, and keep the record for a replay": ["fix", name, "--patch", _patch(letter)],
            "Replay it, as it was fixed or as it is": ["replay", name],
            "Discard it": ["discard", name, *why],
        }
    elif letter.state is State.REPLAYED:
        can = {"Replay it once more": ["replay", name, "--again"]}
    elif letter.state is State.DISCARDED:
        can = {"Open it again": ["discard", name, "--undo", *why]}
    of = [] if letter.stream == DEFAULT_STREAM else ["--stream", letter.stream]
    return {
        what: shlex.join(["etar", "dead-letters", *line, *of])
        for what, line in (can | {"Print all this": ["show", name]}).items()
    }


def left_out(found: FoundLetters) -> str:
    """What is said where there may be more letters than are listed."""
    if found.listed:
        return f"These are the newest {len(found.listed):,}. All are printed by:"
    return "None is among the newest letters, which were looked through; there may be older ones. All are printed by:"


def list_all(stream: str, asked: Asked, day: date) -> str:
    """The command that prints every letter of the day."""
    line = ["etar", "dead-letters", "list", "--limit", "0"]
    line += ["--from", f"{day}T00:00Z", "--to", f"{day + timedelta(days=1)}T00:00Z"]
    line += ["--reason", asked.reason.value] if asked.reason else []
    line += ["--state", asked.state.value if asked.state else "all"]
    line += [] if stream == DEFAULT_STREAM else ["--stream", stream]
    return shlex.join(line)


def _patch(letter: WholeLetter) -> str:
    if letter.pointer is None:
        # The record as it was read, written again with the schema: what is left over is left out.
        return "[]"
    change = {"op": "replace" if letter.there else "add", "path": letter.pointer, "value": _NEW_VALUE}
    return json.dumps([change])


def _totals(counts: LetterCounts) -> Counter[Reason]:
    totals: Counter[Reason] = Counter()
    for bucket in counts.buckets:
        totals.update(bucket.reasons)
    return totals
