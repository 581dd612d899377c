"""The check of a stream's folder, offline: every rule, every finding with file, place, what and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etar.records.column_types import UnsupportedTableError
from etar.stream_folder.checks import fields, page, report, samples, statements, windows
from etar.stream_folder.engine import Database, NoEngineError, own_database
from etar.streams import Catalogue, Fault, Rule, Stream, UnknownStreamError


def check(catalogue: Catalogue, names: Sequence[str] = ()) -> list[Fault]:
    """What is wrong with the folders of these streams; without names with all there are.

    Raises:
        UnknownStreamError: there is no such folder.
    """
    faulty = {fault.stream for fault in catalogue.faults}
    for name in names:
        if name not in catalogue.streams and name not in faulty:
            raise UnknownStreamError(name, catalogue)
    found = [fault for fault in catalogue.faults if not names or fault.stream in names]
    for stream in catalogue.streams.values():
        if not names or stream.name in names:
            found += check_stream(stream)
    return found


def check_stream(stream: Stream) -> list[Fault]:
    """What is wrong with a folder that defines a stream: errors first."""
    found = [
        *fields.reserved(stream),
        *report.report(stream),
        *page.page(stream),
        *windows.windows(stream),
        *_table(stream),
    ]
    return sorted(found, key=lambda fault: fault.is_warning)


def _table(stream: Stream) -> Iterator[Fault]:
    migrations, faults = statements.read_statements(stream)
    faults += statements.own_statements(stream, migrations)
    yield from faults
    if faults:
        return  # what is none of this stream's is not run
    try:
        with own_database() as database:
            faults = list(statements.run_statements(stream, migrations, database))
            yield from faults
            if not faults:
                yield from _made(stream, database)
    except NoEngineError as error:
        mend = "check the folder where etar is installed as a whole"
        yield Fault(stream.name, stream.file("sql"), "", str(error), mend, Rule.REPEATABLE, is_warning=True)


def _made(stream: Stream, database: Database) -> Iterator[Fault]:
    described = database.describe(stream.table)
    faults = list(statements.columns(stream, described))
    yield from faults
    if described:
        yield from statements.minutes(stream, described, database)
    yield from fields.fields_and_columns(stream, described)
    yield from report.columns(stream, described)
    if faults:
        return
    yield from statements.unfilled(stream, described)
    try:
        layout = statements.layout(stream, described)
    except UnsupportedTableError:
        return  # said above
    rows, faults = samples.samples(stream, layout)
    yield from faults
    if not faults:
        yield from report.golden(stream, len(rows))
