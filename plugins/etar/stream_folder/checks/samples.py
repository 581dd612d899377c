"""``samples.jsonl``: each record becomes what it says, at the intake's own decoder; and the rows go into the table."""

from __future__ import annotations

from collections.abc import Iterator

from etar.dead_letters import DeadLetter
from etar.event_times import EventTimeBounds
from etar.records.json_text import to_text
from etar.records.record import Row, Unreadable
from etar.records.table import TableLayout
from etar.settings import EventTimeSettings, get_settings
from etar.stream_folder.checks.fields import schema_file
from etar.stream_folder.examples import FILE_NAME, Bench, Example, ExampleError, read_examples, same
from etar.streams import Fault, Rule, Stream

_SHOWN = 200


def samples(stream: Stream, layout: TableLayout) -> tuple[list[Row], list[Fault]]:
    """The rows of the good samples, and what is wrong with the others."""
    bench = Bench(stream, layout, EventTimeBounds.of(get_settings(EventTimeSettings)))
    if isinstance(bench.reader, Unreadable):
        what = f"no record can be read by it: {bench.reader.detail}"
        return [], [Fault(stream.name, schema_file(stream), "", what, "mend the schema", Rule.SCHEMA)]
    file = stream.file(FILE_NAME)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
        mend = "write some records there with what each must become (streams/README.md)"
        return [], [Fault(stream.name, file, "", what, mend, Rule.SAMPLES)]
    rows: list[Row] = []
    faults: list[Fault] = []
    good = 0
    for number, example in read_examples(text):
        if isinstance(example, ExampleError):
            what, mend = str(example), "mend the line"
        else:
            good += example.row is not None
            found = _outcome(bench, example, number)
            if isinstance(found, Row):
                rows.append(found)
                continue
            if found is None:
                continue
            what, mend = found
        faults.append(Fault(stream.name, file, f"line {number}", what, mend, Rule.SAMPLES))
    if not good and not faults:
        what, mend = "has no record that becomes a row", "add one with its row"
        faults.append(Fault(stream.name, file, "", what, mend, Rule.SAMPLES))
    return rows, faults


def _outcome(bench: Bench, example: Example, number: int) -> Row | tuple[str, str] | None:
    """The row of a good example; None for a bad one that is as it says; else what is wrong, and what to do."""
    try:
        outcome = bench.outcome(example, offset=number)
    except ExampleError as error:
        return str(error), "mend the record"
    if isinstance(outcome, DeadLetter):
        return _of_letter(outcome, example)
    row = bench.shown(outcome)
    if example.row is None:
        return f"becomes a row, and says that it becomes a dead letter of {example.reason}", "mend the record"
    if different := same(row, example.row):
        name = different[0]
        is_, says = (to_text(each[name]) if name in each else "no column" for each in (row, example.row))
        return f"in its row {name} is {is_:.{_SHOWN}}, and it says {says:.{_SHOWN}}", "mend what it says, or the table"
    return outcome


def _of_letter(letter: DeadLetter, example: Example) -> tuple[str, str] | None:
    if example.reason is not letter.reason:
        said = f"a dead letter of {example.reason}" if example.reason else "a row"
        what = f"becomes a dead letter, {letter.reason} ({letter.detail:.{_SHOWN}}), and says that it becomes {said}"
        return what, "mend the record, or the schema and the table"
    if not letter.detail.startswith(example.detail):
        what = f"becomes a dead letter that says {letter.detail:.{_SHOWN}}, and is to say {example.detail:.{_SHOWN}}"
        return what, "mend what it says, or the record"
    return None


def expected_rows(stream: Stream) -> Iterator[Example]:
    """The samples that say they become a row."""
    text = stream.file(FILE_NAME).read_text(encoding="utf-8")
    for _, example in read_examples(text):
        if isinstance(example, Example) and example.row is not None:
            yield example
