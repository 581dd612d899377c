"""The files of a new stream's folder, written whole or not at all, and only if they pass their own check."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from etar.dead_letters import Reason
from etar.errors import PermanentError
from etar.event_times import EventTimeBounds
from etar.records.json_text import to_text
from etar.records.record import Row
from etar.report_sql import FILE as SQL_FILE
from etar.settings import EventTimeSettings, StreamSettings, get_settings
from etar.stream_folder.check import check_stream
from etar.stream_folder.checks import statements
from etar.stream_folder.checks.report import GOLDEN_FILE
from etar.stream_folder.engine import own_database
from etar.stream_folder.examples import FILE_NAME as SAMPLES_FILE
from etar.stream_folder.examples import Bench, Example, ExampleError, lines_of
from etar.stream_folder.instants import instant_of
from etar.stream_folder.proposal import Proposal
from etar.stream_folder.starting_report import golden, report_sql
from etar.stream_folder.table import create_table
from etar.streams import Fault, RecordFormat, Stream, TimeForm, catalogue
from etar.streams.stream_toml import FILE_NAME, NAME_PATTERN

GOOD_EXAMPLES = 3
_TRIED = 200
_LONG_AGO = timedelta(days=30)
_A_SECOND, _AN_HOUR = timedelta(seconds=1), timedelta(hours=1)


class NotWrittenError(PermanentError):
    """The folder was not written; the message says why, and what to do."""


@dataclass(frozen=True)
class Written:
    """A folder that was written: where, and what its check says all the same (warnings)."""

    folder: Path
    warnings: tuple[Fault, ...]


def require_free(name: str, settings: StreamSettings) -> Path:
    """Where the folder of a stream of this name goes.

    Raises:
        NotWrittenError: no stream can have the name, or one has it.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotWrittenError(
            f"{name!r} can be no stream's name: that is small letters, digits and _, two to 41 of them, a letter first"
        )
    if not (folders := catalogue(settings).folders):
        raise NotWrittenError("ETAR_STREAMS_FOLDERS names no folder to write into; set it, like streams:my-streams")
    target = folders[-1] / name
    if target.exists():
        raise NotWrittenError(f"{target} is there already, and is not overwritten; choose another name, or delete it")
    return target


def write_folder(proposal: Proposal, settings: StreamSettings) -> Written:
    """Write the stream's folder into the last of the folders of streams.

    Raises:
        NotWrittenError: there is one, or something of its name, or it would not pass its check. Nothing was written.
        NoEngineError: there is no engine to check it with.
    """
    target = require_free(proposal.name, settings)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".new-{proposal.name}-", dir=target.parent))
    except OSError as error:
        raise NotWrittenError(f"{target} cannot be written: {error.strerror or error}") from error
    try:
        own = draft / proposal.name
        own.mkdir()
        for name, text in _first_files(proposal).items():
            _write(own / name, text)
        stream = _read(proposal, settings, draft)
        for name, text in _files_of_examples(proposal, stream).items():
            _write(own / name, text)
        found = check_stream(stream)
        if errors := [fault for fault in found if not fault.is_warning]:
            raise NotWrittenError("\n".join(_about_draft(fault, own, target) for fault in errors))
        draft_of = tuple(replace(fault, file=target / fault.file.relative_to(own)) for fault in found)
        os.rename(own, target)  # noqa: PTH104  (which refuses a folder that came to be in between, unless it is empty)
        return Written(target, draft_of)
    except OSError as error:
        raise NotWrittenError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _about_draft(fault: Fault, own: Path, target: Path) -> str:
    return str(replace(fault, file=target / fault.file.relative_to(own)))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _read(proposal: Proposal, settings: StreamSettings, draft: Path) -> Stream:
    """The stream as the catalogue reads it, beside those there are."""
    folders = f"{settings.streams_folders}:{draft}"
    found = catalogue(settings.model_copy(update={"streams_folders": folders}))
    if faults := [fault for fault in found.faults if fault.stream == proposal.name]:
        raise NotWrittenError("\n".join(f"{fault.place}: {fault.what}; {fault.mend}" for fault in faults))
    return found.named(proposal.name)


def _first_files(proposal: Proposal) -> dict[str, str]:
    schema = "schema.avsc" if proposal.format is RecordFormat.AVRO else "schema.json"
    return {
        FILE_NAME: _definition(proposal),
        schema: proposal.schema_text,
        "sql/0001_table.sql": create_table(proposal),
        SQL_FILE: report_sql(proposal),
    }


def _definition(proposal: Proposal) -> str:
    lines = [
        "# What this stream is. `etar stream schema` has all that can stand here; `etar stream check` holds it to it.",
        "[stream]",
        f"name = {_toml(proposal.name)}",
        f"title = {_toml(proposal.title)}",
    ]
    if proposal.about:
        lines.append(f"about = {_toml(proposal.about)}")
    if proposal.topic and proposal.topic != proposal.name:
        lines += ["", "[topic]", f"name = {_toml(proposal.topic)}"]
    lines += ["", "[record]", f"format = {_toml(proposal.format.value)}", "", "[event]"]
    if not proposal.identity:
        lines.append("# Each record is an event of its own: one that is sent twice counts twice.")
    lines.append(f"id = [{', '.join(map(_toml, proposal.identity))}]")
    lines.append(f"time = {_toml(proposal.time)}")
    if proposal.time_form is not TimeForm.LOGICAL:
        lines.append(f"time_as = {_toml(proposal.time_form.value)}")
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    """A text of TOML: JSON's escapes are among its own."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _files_of_examples(proposal: Proposal, stream: Stream) -> dict[str, str]:
    migrations, faults = statements.read_statements(stream)
    with own_database() as database:
        faults += statements.run_statements(stream, migrations, database)
        described = database.describe(stream.table)
    if faults:
        raise NotWrittenError("\n".join(f"{fault.place}: {fault.what}" for fault in faults))
    bench = Bench(stream, statements.layout(stream, described), EventTimeBounds.of(get_settings(EventTimeSettings)))
    good, refused = _good(proposal, bench)
    if not good:
        raise NotWrittenError(f"no record of the sample becomes a row: {refused}")
    bad = [example for example in _bad(proposal, good[0]) if _becomes(bench, example)]
    made = golden(proposal, [example.row for example in good if example.row is not None])
    return {SAMPLES_FILE: lines_of([*good, *bad]), GOLDEN_FILE: _readable(made)}


def _readable(made: Mapping[str, Any]) -> str:
    return "{\n" + ",\n".join(f"  {to_text(name)}: {to_text(value)}" for name, value in made.items()) + "\n}\n"


def _good(proposal: Proposal, bench: Bench) -> tuple[list[Example], str]:
    """Some records that become rows, with those rows; and why one did not."""
    good: list[Example] = []
    refused = "it has none"
    for record in proposal.records[:_TRIED]:
        try:
            happened = instant_of(_at(record, proposal.time), proposal.time_form)
            example = Example("of the sample", happened + _A_SECOND, record=record)
            outcome = bench.outcome(example)
        except (ExampleError, ValueError, ArithmeticError, TypeError) as error:
            refused = str(error)
            continue
        if isinstance(outcome, Row):
            good.append(replace(example, row=bench.shown(outcome)))
        else:
            refused = f"{outcome.reason}: {outcome.detail}"
        if len(good) == GOOD_EXAMPLES:
            break
    return good, refused


def _bad(proposal: Proposal, good: Example) -> Sequence[Example]:
    record = dict(good.record or {})
    happened: datetime = good.appended - _A_SECOND
    wrong, missing = Reason.MISSING_OR_WRONG_FIELD, "the producer forgot {}"
    is_avro = proposal.format is RecordFormat.AVRO
    examples = [
        Example(missing.format(name), good.appended, record=_without(record, name), reason=wrong)
        for name in (*proposal.identity, proposal.time)
    ]
    odd = next((column for column in proposal.columns if column.name in record and not column.is_nullable), None)
    if odd is not None and not is_avro:
        strange = {**record, odd.name: {"not": "of its type"}}
        examples.append(Example(f"{odd.name} is of another type", good.appended, record=strange, reason=wrong))
    examples += [
        Example("it comes too late", happened + _LONG_AGO, record=record, reason=Reason.TOO_LATE),
        Example("its time is yet to come", happened - _AN_HOUR, record=record, reason=Reason.EVENT_TIME_OUT_OF_BOUNDS),
        Example("a tombstone", good.appended, reason=Reason.NULL_VALUE),
        Example("no record at all", good.appended, raw="hello", reason=Reason.NOT_AVRO if is_avro else Reason.NOT_JSON),
    ]
    return examples


def _becomes(bench: Bench, example: Example) -> bool:
    """Whether an example that was made up is true: a field with a default, say, cannot be forgotten."""
    try:
        outcome = bench.outcome(example)
    except ExampleError:
        return False
    return not isinstance(outcome, Row) and outcome.reason is example.reason


def _at(record: Mapping[str, Any], name: str) -> Any:
    return record.get(name)


def _without(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}
