"""What a minute comes to: the folder's report, and ``golden.json``, which it makes of the good samples.

All of the check that depends on how reports are made stands in this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from etar.minute import MinuteWindow
from etar.pipeline.extract import extractable
from etar.report import MinuteReport, faults
from etar.report_sql import FILE as SQL_FILE
from etar.stream_code import StreamCodeError, report_model, report_transform, traffic_class
from etar.streams import Fault, Rule, Stream
from etar.streams.stream_toml import FILE_NAME as DEFINITION

GOLDEN_FILE = "golden.json"

SOME_MINUTE = MinuteWindow.parse("2026-11-21T10:31Z")
SOME_SOURCE = "samples.jsonl"
"""What a golden report says of its minute and its rows' source: it is of none."""

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`", re.DOTALL)


def report(stream: Stream) -> Iterator[Fault]:
    """The folder says what a minute comes to, once: by one SELECT, or by code that can be loaded and whose model has an
    empty minute. Nothing is computed: that takes a Spark (``etar stream check --full``)."""
    code, sql = _file(stream, stream.report_transform), stream.file(SQL_FILE)
    if not sql.is_file() and not code.is_file():
        mend = f"write {SQL_FILE}, one SELECT over the minute's events, or {code.name}"
        yield Fault(stream.name, code.parent, "", f"has neither {SQL_FILE} nor {code.name}", mend, Rule.REPORT)
        return
    if sql.is_file():
        yield from _of_sql(stream, sql)
    parts: list[tuple[str, Callable[[], object]]] = [
        (stream.report_model, partial(report_model, stream)),
        (stream.report_transform, partial(report_transform, stream)),
    ]
    if stream.traffic is not None:
        if _file(stream, stream.traffic).is_file():
            parts.append((stream.traffic, partial(traffic_class, stream)))
        else:
            mend = "write it, or take [traffic] out of stream.toml"
            yield Fault(stream.name, _file(stream, stream.traffic), "", "is missing", mend, Rule.REPORT)
    told: set[str] = set()
    for part, use in parts:
        try:
            use()
        except StreamCodeError as error:
            if str(error) not in told:  # of a file that cannot be imported, each part says the same
                told.add(str(error))
                yield of_code(stream, part, error, Rule.REPORT)


def _file(stream: Stream, part: str) -> Path:
    return stream.file(f"{part.partition(':')[0]}.py")


def of_code(stream: Stream, part: str, error: StreamCodeError, rule: Rule) -> Fault:
    """What is wrong with ``module:name`` of the folder, or with the module as a whole."""
    file, name = _file(stream, part), part.partition(":")[2]
    said = str(error).removeprefix(f"stream {stream.name}: ")
    for about in (f"{name} of {file} ", f"{file} "):
        said = said.removeprefix(about)
    what, _, mend = said.rpartition("; ")
    return Fault(stream.name, file, name, what or mend, mend if what else "define it there", rule)


def _of_sql(stream: Stream, file: Path) -> Iterator[Fault]:
    text = _COMMENT.sub(" ", file.read_text(encoding="utf-8", errors="replace")).strip().rstrip(";")
    if not re.match(r"(?i)(select|with)\b", text):
        what = f"is {' '.join(text.split())!r:.60}" if text else "is empty"
        yield Fault(stream.name, file, "", what, "write one SELECT … FROM events", Rule.REPORT)
    elif ";" in _TEXT.sub("", text):
        yield Fault(stream.name, file, "", "is several statements", "write one SELECT … FROM events", Rule.REPORT)
    elif not re.search(r"(?i)\bevents\b", text):
        yield Fault(stream.name, file, "", "does not read events", "write one SELECT … FROM events", Rule.REPORT)


def columns(stream: Stream, described: Iterable[Sequence[str]]) -> Iterator[Fault]:
    """What the report reads, as ``stream.toml`` has it, an extract can have."""
    there = dict(extractable(described))
    for name in stream.report_columns or ():
        if name not in there:
            what = f"an extract can have no column {name}: the table {stream.table} has none that comes from the event"
            mend = f"name some of {', '.join(there)}, or leave columns out: then the report is given all"
            yield Fault(stream.name, stream.file(DEFINITION), "report.columns", what, mend, Rule.REPORT)


def golden(stream: Stream, rows: int) -> Iterator[Fault]:
    """``golden.json`` is a report of as many rows as there are good samples, in the form of the stream's model.

    Whether it is the one that the transform makes of them, the contract suite says (``tests/streams``).
    """
    file = stream.file(GOLDEN_FILE)
    try:
        found = json.loads(file.read_bytes())
        whole = expected_report(stream, found)
    except OSError as error:
        mend = "write there the report of the good samples"
        yield Fault(stream.name, file, "", f"cannot be read: {error.strerror}", mend, Rule.GOLDEN)
    except (ValueError, TypeError, AttributeError) as error:
        what = f"is no report: {faults(error)}" if isinstance(error, ValidationError) else f"is no JSON object: {error}"
        yield Fault(stream.name, file, "", what, "write the report of the good samples", Rule.GOLDEN)
    except StreamCodeError:
        return  # said of the report itself
    else:
        if whole.rows_read != rows:
            what = f"is {whole.rows_read}, and {rows} samples become rows"
            mend = "write the report of the good samples anew"
            yield Fault(stream.name, file, "rows_read", what, mend, Rule.GOLDEN)


def expected_report(stream: Stream, golden: Mapping[str, Any]) -> MinuteReport:
    """What ``golden.json`` says, as a report of some minute.

    Raises:
        StreamCodeError: the stream has no model.
        pydantic.ValidationError: it is none of the model's reports.
    """
    envelope = {"stream": stream.name, "minute": SOME_MINUTE.start, "source_object": SOME_SOURCE}
    return report_model(stream).complete({**golden, **envelope})
