"""``[windows]``: the table is one that the folder makes, and each of its numbers is one that the report has, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from etar.bootstrap.migrations import JOB_TABLES
from etar.stream_code import StreamCodeError
from etar.stream_folder.checks.report import GOLDEN_FILE, expected_report
from etar.streams import WINDOW_COLUMNS, Fault, Rule, Stream
from etar.streams.stream_toml import FILE_NAME as DEFINITION


def windows(stream: Stream) -> Iterator[Fault]:
    """What the page and `etar verify` will ask for is there. Without a server, the statements are read as text."""
    declared = stream.windows
    if declared is None:
        return
    file = stream.file(DEFINITION)
    texts = [
        each.read_text(encoding="utf-8", errors="replace") for each in sorted(stream.file(JOB_TABLES).glob("*.sql"))
    ]
    statements = "\n".join(re.sub(r"--.*", "", text) for text in texts)
    if not re.search(rf"(?i)\bCREATE TABLE (IF NOT EXISTS )?{declared.table}\b", statements):
        what, mend = f"is {declared.table!r}, which no file of {JOB_TABLES}/ makes", "write CREATE TABLE … there"
        yield Fault(stream.name, file, "windows.table", what, mend, Rule.WINDOWS)
        return
    columns = [declared.by, *(name for value in declared.values for name in (value.column, value.streamed))]
    for column in (*columns, *sorted(WINDOW_COLUMNS)):
        if not re.search(rf"\b{column}\b", statements):
            what, mend = f"has no column {column}, which live windows need", f"add it in the next file of {JOB_TABLES}/"
            yield Fault(stream.name, stream.file(JOB_TABLES), declared.table, what, mend, Rule.WINDOWS)
    try:
        golden = expected_report(stream, json.loads(stream.file(GOLDEN_FILE).read_bytes())).model_dump(mode="json")
    except (OSError, StreamCodeError, ValidationError, ValueError, TypeError, AttributeError):
        return  # said of the report and of its golden one
    for value in declared.values:
        if not isinstance(golden.get(value.report), Mapping):
            what = f"names {value.report!r}, which is no mapping of the report"
            mend = f"name a field that has a number for each {declared.by}"
            yield Fault(stream.name, file, "windows.values", what, mend, Rule.WINDOWS)
