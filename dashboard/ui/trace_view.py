"""The page that says where one event is, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import streamlit as st

from dashboard.ui.client import ReportsUnavailableError
from dashboard.ui.feeds import client
from dashboard.ui.page_parts import plain, viewers_clock
from dashboard.ui.times import IN_UTC, Clock
from etar.streams import catalogue
from etar.trace.answer import PlaceAnswer, RecordTrace, Standing, StepState, Trace

_WORDS = {
    StepState.DONE: "done",
    StepState.WAITING: "waiting",
    StepState.ENDED: "ended",
    StepState.NOT_ASKED: "not asked",
}
_COLORS = {
    Standing.COUNTED: "green",
    Standing.DUPLICATE: "green",
    Standing.REPLAYED: "green",
    Standing.WAITING: "orange",
    Standing.UNKNOWN: "orange",
    Standing.DEAD_LETTER: "red",
    Standing.LOST: "red",
    Standing.DISCARDED: "gray",
    Standing.GONE: "gray",
}


def show(streams: Sequence[str]) -> None:
    """The page. What is asked for is in its address, so that it can be handed on."""
    st.title("etar · trace", anchor=False)
    st.caption(
        "Where one event is: Kafka, table or dead letter, minute, audit, extract, report. `etar trace` says the same."
    )
    given = st.query_params
    named = given.get("stream", "")
    stream = st.selectbox("Stream", streams, index=streams.index(named) if named in streams else 0, key="trace-stream")
    known = catalogue().streams.get(stream or "")
    columns = known.identity if known else ()
    ids = given.get_all("id") if named == stream else []
    with st.form("trace", border=True):
        values = [
            st.text_input(
                column, value=ids[place] if place < len(ids) else "", key=f"trace-{stream}-{column}", max_chars=500
            )
            for place, column in enumerate(columns)
        ]
        record = st.text_input(
            "Or a record" if columns else "Record",
            value=given.get("record", ""),
            placeholder="PARTITION:OFFSET, like 3:1042",
            key="trace-record",
            max_chars=40,
        )
        since = st.text_input(
            "Search since",
            value=given.get("since", "3h"),
            help="How long ago the event happened at most, like 90m, or a time like 2026-11-21T10:31Z. All of it "
            "is read: a short one answers sooner. A record is found wherever it is.",
            key="trace-since",
            max_chars=40,
        )
        pressed = st.form_submit_button("Trace", type="primary")
    if pressed:
        asked = asked_for(values, record, since)
        given.from_dict({"stream": stream or "", **asked})
    else:
        asked = asked_for(ids, given.get("record", ""), given.get("since", "")) if named == stream else {}
    with st.container(key="trace-answer"):
        if "id" in asked or "record" in asked:
            _answer(stream or "", asked)
        elif pressed:
            st.info("Give the event's id, or a record's place in Kafka.", icon=":material/search:")


def asked_for(values: Sequence[str], record: str, since: str) -> dict[str, str | list[str]]:
    """What the API is asked for: a record where one is given, else the event."""
    asked: dict[str, str | list[str]] = {"since": since.strip()} if since.strip() else {}
    if record.strip():
        return asked | {"record": record.strip()}
    return asked | {"id": list(values)} if any(values) else asked


def _answer(stream: str, asked: Mapping[str, str | Sequence[str]]) -> None:
    try:
        with st.spinner("Asking Kafka, table, dead letters, ledger and extracts …"):
            found = client().trace(stream, asked)
    except ReportsUnavailableError as error:
        st.error(str(error), icon=":material/cloud_off:")
        return
    if not found.found:
        if found.complete:
            st.warning(plain(f"Not there: {found.says}"), icon=":material/search_off:")
        else:
            st.warning(plain(f"Not known: {found.says}"), icon=":material/cloud_off:")
    for record in found.records:
        with st.container(border=True, key=f"record-{record.partition}-{record.offset}"):
            st.header(f"{plain(record.log)} {record.name}", anchor=False)
            color = _COLORS[record.standing]
            st.markdown(f":{color}[**{record.standing}**] {plain(record.says)}")
            st.html(steps_table(record, viewers_clock()))
    with st.expander(_looked(found), expanded=not found.found, icon=":material/travel_explore:"):
        st.html(places_table(found.places))


def _looked(found: Trace) -> str:
    away = [each.place for each in found.places if not each.asked]
    return f"Where it was looked for · not asked: {', '.join(away)}" if away else "Where it was looked for"


def steps_table(record: RecordTrace, clock: Clock = IN_UTC) -> str:
    """A record's steps as HTML. What anybody may have written is escaped."""
    columns = clock.column("Time", (each.at for each in record.steps), "%Y-%m-%d\u00a0%H:%M:%S") | {
        "Time (UTC)": [f"{each.at:%Y-%m-%d\u00a0%H:%M:%S.%f}"[:-3] if each.at else "-" for each in record.steps],
        "Step": [each.name for each in record.steps],
        "State": [_WORDS[each.state] for each in record.steps],
        "": [each.says for each in record.steps],
    }
    return _table(list(columns), zip(*columns.values(), strict=True))


def places_table(places: Iterable[PlaceAnswer]) -> str:
    """What each place was asked for, as HTML."""
    return _table(("Place", ""), ((each.place, each.says) for each in places))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cell = 'style="text-align: left; vertical-align: top; padding: 0.2rem 0.8rem 0.2rem 0"'
    head = "".join(f'<th scope="col" {cell}>{escape(each)}</th>' for each in heads)
    body = "".join(f"<tr>{''.join(f'<td {cell}>{escape(each)}</td>' for each in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
