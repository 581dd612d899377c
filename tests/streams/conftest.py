"""The contract suite: what every stream's folder is held to. It is run for whatever ``ETAR_STREAMS_FOLDERS`` names, a
user's folders too (``etar stream check --full``), and takes no stream for granted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etar.records.table import TableLayout
from etar.stream_folder.checks.statements import layout, read_statements
from etar.stream_folder.engine import Database, RefusedError, own_database
from etar.streams import Catalogue, Stream, catalogue


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stream", help="The only stream to hold to the contract; all there are if left out.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stream" in metafunc.fixturenames:
        found = catalogue()
        only = metafunc.config.getoption("--stream", default=None)
        streams = [stream for stream in found.streams.values() if only in (None, stream.name)]
        metafunc.parametrize("stream", streams, ids=[stream.name for stream in streams])


@pytest.fixture(scope="session")
def found() -> Catalogue:
    return catalogue()


@pytest.fixture
def made(stream: Stream) -> Iterator[Database]:
    """An engine in which the folder's statements were run."""
    migrations, faults = read_statements(stream)
    assert faults == []
    with own_database() as database:
        for migration in migrations:
            for statement in migration.statements:
                try:
                    database.run(statement)
                except RefusedError as error:
                    pytest.fail(f"{migration.name}: {error}")
        yield database


@pytest.fixture
def columns(stream: Stream, made: Database) -> TableLayout:
    return layout(stream, made.describe(stream.table))
