"""``etar trace``: where one event is, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.context import DEFAULT_FOLDER, PLACES, AsJson, Folder, StreamName, errors_shown, fail, use_settings_of
from etar.instants import utc_text
from etar.streams import DEFAULT_STREAM, stream_named
from etar.text import printable
from etar.trace.answer import RecordTrace, StepState, Trace
from etar.trace.question import Question, UnfitQuestionError

NOT_THERE = 1
NOT_TOLD = 3
"""Exit code where it was not found, and a place that would know was not asked."""


def trace(
    event: Annotated[
        list[str],
        typer.Argument(
            metavar="EVENT_ID… | PARTITION:OFFSET",
            help="The event's id, one value for each column that makes it; or a record's place in Kafka, like 3:1042.",
        ),
    ],
    *,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Search from this minute on: 2026-11-21T10:31Z, or how long ago, like 90m. Default: 3h.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Search before this minute; after the newest if left out.")
    ] = None,
    as_id: Annotated[bool, typer.Option("--id", help="The value is an id, although it looks like a place.")] = False,
    log: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="PARTITION:OFFSET is of the topic's Nth log that has ended.")
    ] = None,
    stream: StreamName = DEFAULT_STREAM,
    as_json: AsJson = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Say where one event is: Kafka, table or dead letter, minute, audit, extract, report, and what is waited for.

    Exit code 1: it is in no place that was searched; 3: it was not found, and a place that would know is away.
    """
    from etar.settings import PipelineSettings, get_settings
    from etar.trace.tracer import trace as traced

    with errors_shown():
        use_settings_of(folder, *PLACES, "ETAR_DEAD_LETTERS_")
        chosen = stream_named(stream)
        try:
            question = Question.of(
                chosen,
                event,
                now=datetime.now(UTC),
                ahead=get_settings(PipelineSettings).max_ahead,
                since=since,
                until=until,
                log=log,
                as_id=as_id,
            )
            found = traced(question, stream=chosen)
        except UnfitQuestionError as error:
            fail(str(error))
    typer.echo(found.model_dump_json(indent=2) if as_json else "\n".join(describe(found)))
    if not found.found:
        raise typer.Exit(NOT_THERE if found.complete else NOT_TOLD)


def describe(found: Trace) -> Iterator[str]:
    """The answer as text."""
    named = found.identity or {"record": found.record or ""}
    yield printable(f"{found.stream}: {', '.join(f'{column} {value}' for column, value in named.items())}")
    yield printable(found.says)
    for record in found.records:
        yield ""
        yield from _record(record)
    yield ""
    yield from (f"{each.place:<15} {printable(each.says)}" for each in found.places)


def _record(record: RecordTrace) -> Iterator[str]:
    yield f"{record.log} {record.name}: {record.standing}"
    for step in record.steps:
        when = utc_text(step.at, "milliseconds") if step.at else ""
        state = "" if step.state is StepState.DONE else f"{step.state}: "
        yield f"  {when:<24}  {step.name:<11}  {state}{printable(step.says)}"
