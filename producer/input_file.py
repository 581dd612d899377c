"""Files of a user's own events: JSON lines, CSV and Parquet, plain or compressed, a piece at a time.

pyarrow opens, decompresses and reads Parquet, msgspec reads JSON, csv reads CSV. Lines are told apart here, before
anything reads them, so that a bad one is one reject with its number and its text, and a quote that nobody closed costs
its own line (docs/decisions/0014-reading-files.md says what was measured).
"""

from __future__ import annotations

import csv
import glob
import io
import json
import re
import select
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote

import msgspec

from etar.rows.layout import Layout
from etar.rows.values import RowError

if TYPE_CHECKING:
    import pyarrow as pa

    from etar.rows.columns import Column

STDIN = Path("-")
REJECTS_SUFFIX = ".rejects.jsonl"

_READ_BYTES = 128 * 1024
_READS_A_BLOCK = 4
_PART_BYTES = 16 * 1024
_LONGEST_LINE = 1024 * 1024
_ROWS_A_PIECE = 4096
_LONGEST_CELL_LINES = 200
_DELIMITERS = ",;\t|"

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_CSV_SUFFIXES = (".csv", ".tsv")
_PARQUET_SUFFIXES = (".parquet",)
_SUFFIXES = (*_JSON_SUFFIXES, *_CSV_SUFFIXES, *_PARQUET_SUFFIXES)
_COMPRESSED_SUFFIXES = (".gz", ".zst")
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PARQUET_MAGIC = b"PAR1"
_PARTITION = re.compile(r"(\w+)=(.*)")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class InputFileError(ValueError):
    """A file as a whole cannot be used; the message says what to change."""


class StoppedError(RuntimeError):
    """The run was stopped while a pipe gave nothing."""


@dataclass(frozen=True)
class Reject:
    """A line that is not an event: its file and number (from 1; of Parquet, the row's), why, and the line itself.

    ``kind`` is the reason without the values that differ from line to line.
    """

    file: str
    line: int
    reason: str
    raw: str
    kind: str

    @classmethod
    def of(cls, file: str, line: int, error: RowError, raw: str) -> Reject:
        return cls(file, line, str(error), raw, error.kind)

    def to_json(self) -> str:
        fields = asdict(self)
        del fields["kind"]
        return json.dumps(fields, ensure_ascii=False)


@dataclass(frozen=True)
class Piece:
    """Some rows of a file, column by column, each with its line's number and its text."""

    file: str
    columns: Mapping[str, Column]
    lines: Sequence[int]
    raw: Callable[[int], str]
    """The text of the row at an index."""

    def with_given(self, given: Mapping[str, object]) -> Piece:
        """The same with fields that are one value for all rows, where they are no columns."""
        columns: dict[str, Column] = {name: (value,) * len(self.lines) for name, value in given.items()}
        return replace(self, columns=columns | dict(self.columns))

    def reject(self, index: int, error: RowError) -> Reject:
        return Reject.of(self.file, self.lines[index], error, self.raw(index))


def find_files(inputs: Iterable[Path]) -> list[Path]:
    """Every file that the inputs name: files, folders of parts, patterns with ``*``, pipes and ``-``, in order.

    Of a folder, what Spark and the like put beside the parts (names that begin with ``.`` or ``_``) and rejects of an
    earlier run are left out.

    Raises:
        InputFileError: there is nothing of that name, or something whose kind its name does not tell.
    """
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found += _parts_of(path)
        elif path == STDIN or path.exists():
            found.append(path)
        elif glob.has_magic(str(path)) and (matches := sorted(glob.glob(str(path), recursive=True))):  # noqa: PTH207  whatever the pattern begins with
            for match in map(Path, matches):
                found += _parts_of(match) if match.is_dir() else [match]
        else:
            raise InputFileError(f"{path}: there is no such file")
    for path in found:
        if path.is_file() and _format_by_name(path) is None:
            raise InputFileError(
                f"{path}: its type is told by its name, which has to end in {', '.join(_SUFFIXES)}, "
                f"with {' or '.join(_COMPRESSED_SUFFIXES)} behind it if it is compressed"
            )
    return list(dict.fromkeys(found))


def read_pieces(
    files: Iterable[Path],
    layout: Layout,
    stopping: Callable[[], bool] = lambda: False,
    told: Callable[[int], None] = lambda _size: None,
) -> Iterator[Piece | Reject]:
    """Every row of the files, in order, with memory for a few thousand at a time.

    ``told``: takes how many bytes of the files, which are no pipes, the rows so far are of; of Parquet, file by file.

    Raises:
        InputFileError: a file is broken, or its columns are not those of the layout. What came before was given out.
        StoppedError: ``stopping()`` while a pipe gave nothing.
    """
    before = 0
    for path in files:
        is_file = path.is_file()
        with _broken_said(path), path.open("rb", buffering=0) as raw:
            given = _given_by_folders(path, layout)
            for piece in _read(path, layout, raw if is_file else _StoppablePipe(raw, stopping)):
                yield piece.with_given(given) if given and isinstance(piece, Piece) else piece
                if is_file:
                    told(before + raw.tell())
            if is_file:
                before += path.stat().st_size
                told(before)


def _parts_of(folder: Path) -> list[Path]:
    parts = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        and not path.name.endswith(REJECTS_SUFFIX)
    ]
    if not parts:
        raise InputFileError(f"{folder}: there is no file in this folder")
    return parts


def _given_by_folders(path: Path, layout: Layout) -> dict[str, str | None]:
    """Fields that stand in the folders' names, as Spark writes a table in parts: ``day=2026-11-21/part-0.parquet``."""
    named = (_PARTITION.fullmatch(part) for part in path.parts[:-1])
    values = {each[1]: unquote(each[2]) for each in named if each and each[1] in layout.names}
    return {name: None if value == _HIVE_NULL else value for name, value in values.items()}


def _format_by_name(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSED_SUFFIXES]
    return suffixes[-1] if suffixes and suffixes[-1] in _SUFFIXES else None


def _read(path: Path, layout: Layout, raw: io.RawIOBase) -> Iterator[Piece | Reject]:
    file: io.BufferedReader = io.BufferedReader(raw, _READ_BYTES)
    name = "stdin" if str(path).startswith("/dev/") else str(path)
    text = _decompressed(file)
    start = text.peek(4)[:4]
    kind = _format_by_name(path)
    if start == _PARQUET_MAGIC or kind in _PARQUET_SUFFIXES:
        yield from _read_parquet(name, layout, path if text is file and path.is_file() else None, text)
        return
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputFileError(f"{name} is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
    blocks = _blocks(text)
    if kind in _JSON_SUFFIXES or (kind is None and start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")):
        yield from _read_json(name, layout, blocks)
    else:
        yield from _read_csv(name, layout, blocks)


def _decompressed(file: io.BufferedReader) -> io.BufferedReader:
    import pyarrow as pa

    start = file.peek(4)[:4]
    for magic, compression in _COMPRESSIONS.items():
        if start.startswith(magic):
            stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression)
            return io.BufferedReader(stream, _READ_BYTES)
    return file


class _StoppablePipe(io.RawIOBase):
    """A pipe that may give nothing for hours, and that a signal ends all the same."""

    def __init__(self, pipe: IO[bytes], stopping: Callable[[], bool]) -> None:
        self._pipe = pipe
        self._stopping = stopping

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        while not select.select([self._pipe], [], [], 0.1)[0]:
            if self._stopping():
                raise StoppedError
        return self._pipe.readinto(buffer)  # type: ignore[attr-defined, no-any-return]


def _blocks(file: io.BufferedReader) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, some thousand at a time, and whether they are the last, which may be without its break.

    Of a line longer than a mebibyte, no more than that is kept.
    """
    rest = b""
    for number, block in enumerate(_gathered(file)):
        content = block if number else block.removeprefix(b"\xef\xbb\xbf")
        if end := content.rfind(b"\n") + 1:
            yield rest + content[:end], False
            rest = content[end:]
        else:
            rest = (rest + content)[:_LONGEST_LINE]
    yield rest, True


def _gathered(file: io.BufferedReader) -> Iterator[bytes]:
    """A file's bytes, several reads at a time: a block costs what some hundred rows do, however many it has.

    What a pipe holds is not held back, nor what stood before a break in the file.
    """
    reads: list[bytes] = []
    try:
        while read := file.read1(_READ_BYTES):
            reads.append(read)
            if len(read) < _READ_BYTES or len(reads) == _READS_A_BLOCK:
                yield b"".join(reads)
                reads.clear()
    except Exception:
        yield b"".join(reads)
        raise
    yield b"".join(reads)


def _smaller_blocks(block: bytes) -> Iterator[bytes]:
    """The same in parts, at least one: lines that have to be looked at one by one are not many."""
    start = 0
    while True:
        end = block.find(b"\n", start + _PART_BYTES) + 1 or len(block)
        yield block[start:end]
        if end == len(block):
            return
        start = end


def _lines_of(block: bytes) -> list[bytes]:
    """Without their breaks."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _count_lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _shown(line: bytes) -> str:
    return line.decode("utf-8", errors="backslashreplace").rstrip("\r\n")


def _too_long(line: bytes) -> RowError | None:
    return RowError(f"the line is longer than {_LONGEST_LINE} bytes") if len(line) >= _LONGEST_LINE else None


def _read_json(file: str, layout: Layout, blocks: Iterable[tuple[bytes, bool]]) -> Iterator[Piece | Reject]:
    before = 0
    for block, _ in blocks:
        whole = _columns_of_json(block, layout)
        for part in (block,) if whole else _smaller_blocks(block):
            columns = whole or _columns_of_json(part, layout)
            if columns is None:
                before += yield from _read_json_lines(file, layout, part, before)
                continue
            rows = _count_lines(part)
            yield Piece(file, columns, range(before + 1, before + rows + 1), _Raw(part, before))
            before += rows


@lru_cache(maxsize=4)
def _json_rows(layout: Layout) -> tuple[Callable[[bytes], list[Any]], Callable[[Any], tuple[object, ...]]]:
    """What decodes whole lines as rows, and what takes the fields of one."""
    places = [f"field{place}" for place in range(len(layout.names))]  # a name may be no name of Python's
    row = msgspec.defstruct(
        "_JsonRow",
        [(place, Any, None) for place in places],
        rename=dict(zip(places, layout.names, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
    columns_of = attrgetter(*places)
    decoder = msgspec.json.Decoder(row, float_hook=Decimal if layout.exact else None)
    return decoder.decode_lines, columns_of if len(places) > 1 else lambda each: (columns_of(each),)


def _columns_of_json(block: bytes, layout: Layout) -> dict[str, Column] | None:
    """The columns of lines of which each is a row, as nearly always; None: they have to be looked at one by one."""
    if len(block) >= _LONGEST_LINE or not _is_plain_jsonl(block):
        return None
    decode_rows, columns_of = _json_rows(layout)
    try:
        rows = decode_rows(block)
    except (ValueError, RecursionError):
        return None
    if len(rows) != _count_lines(block):
        return None
    columns = zip(layout.names, zip(*map(columns_of, rows), strict=True), strict=True)
    return {name: column for name, column in columns if column.count(None) < len(rows)}


def _is_plain_jsonl(block: bytes) -> bool:
    """Whether each line begins and ends as an object does.

    msgspec takes several values of one line, and one of several lines. But none that ends a line with its brace goes on
    in one that begins with a brace: so, when there are as many values as lines, each line is one.
    """
    lines = _count_lines(block)
    begin = block.count(b"\n{") + block.startswith(b"{")
    end = block.count(b"}\n") + block.count(b"}\r\n") + block.endswith(b"}")
    return begin == end == lines


def _read_json_lines(file: str, layout: Layout, block: bytes, before: int) -> Generator[Piece | Reject, None, int]:
    """The rows of a block line by line; returns how many lines it has."""
    decode = msgspec.json.Decoder(float_hook=Decimal if layout.exact else None).decode
    names = frozenset(layout.names)
    lines = _lines_of(block)
    rows: list[dict[str, object]] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, before + 1):
        try:
            row = decode(line)
        except (ValueError, RecursionError):
            row = None
        if type(row) is dict and row.keys() <= names and len(line) < _LONGEST_LINE:
            rows.append(row)
            numbers.append(number)
        elif line.strip():
            try:
                rows.append(_json_row(line, layout))
                numbers.append(number)
            except RowError as error:
                yield Reject.of(file, number, error, _shown(line))
    if rows:
        columns = {name: [row.get(name) for row in rows] for name in set().union(*rows)}
        yield Piece(file, columns, numbers, _Raw(block, before, numbers))
    return len(lines)


def _json_row(line: bytes, layout: Layout) -> dict[str, object]:
    """A line that msgspec does not take, or takes for something else; Python's own JSON has NaN and half pairs, too."""
    if error := _too_long(line):
        raise error
    try:
        row = json.loads(line, parse_float=Decimal if layout.exact else None)
    except (ValueError, RecursionError) as problem:
        raise RowError("not JSON in UTF-8", f"not JSON in UTF-8: {problem}") from problem
    if not isinstance(row, dict):
        raise RowError("not a JSON object; of an array, write one object a line (jq -c '.[]')")
    if unknown := [name for name in row if name not in layout.names]:
        raise RowError(f"{unknown[0]!r} is not a field of an event ({', '.join(layout.names)})")
    return row


class _Raw:
    """The text of a piece's rows, of which each is one line of a block.

    Args:
        before: how many lines stand before the block.
        numbers: of the rows' lines; None: every line is a row.
    """

    def __init__(self, block: bytes, before: int, numbers: Sequence[int] | None = None) -> None:
        self._block, self._before, self._numbers = block, before, numbers
        self._lines: list[bytes] | None = None

    def __call__(self, index: int) -> str:
        self._lines = self._lines or _lines_of(self._block)
        return _shown(self._lines[index if self._numbers is None else self._numbers[index] - self._before - 1])


def _read_csv(file: str, layout: Layout, blocks: Iterator[tuple[bytes, bool]]) -> Iterator[Piece | Reject]:
    block, last = next(blocks)
    lines = _lines_of(block)
    skipped = 0
    delimiter = ","
    if lines and (excel := re.fullmatch(rb"sep=(.)\r?", lines[0], re.IGNORECASE)):
        delimiter, lines, skipped = excel[1].decode("latin-1"), lines[1:], 1
    elif lines:
        delimiter = max(_DELIMITERS, key=lambda each: lines[0].count(each.encode()))
    try:
        header = [name.strip() for name in next(_csv([_text_of(lines[0])], delimiter), [])] if lines else []
    except csv.Error as error:
        raise InputFileError(f"{file}: its first line has to name the columns ({error})") from error
    _check_columns(file, header, layout)
    table = _Csv(file, header, delimiter, before=skipped + 1)
    yield from table.read(b"".join(block.split(b"\n", skipped + 1)[skipped + 1 :]), last)
    for block, last in blocks:
        yield from table.read(block, last)


def _csv(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _text_of(line: bytes) -> str:
    return line.decode("utf-8", errors="surrogateescape")


class _Csv:
    """The rows below a header.

    A quoted cell may span lines. One that never ends, or that swallows a line which is a row by itself, was no cell:
    the line that it begins on is a reject, and reading goes on with the next one.
    """

    def __init__(self, file: str, header: list[str], delimiter: str, before: int) -> None:
        self._file = file
        self._header = header
        self._delimiter = delimiter
        self._before = before
        self._open: list[bytes] = []

    def read(self, block: bytes, last: bool) -> Iterator[Piece | Reject]:
        if (piece := self._piece(block)) is not None:
            yield piece
            return
        parts = list(_smaller_blocks(block))
        for number, part in enumerate(parts, 1):
            if (piece := self._piece(part)) is not None:
                yield piece
            else:
                yield from self._read_lines(self._open + _lines_of(part), last and number == len(parts))

    def _piece(self, block: bytes) -> Piece | None:
        """A block of which each line is a row."""
        table = None if self._open else _row_a_line(block, self._header, self._delimiter)
        if table is None:
            return None
        before = self._before
        self._before += len(table)
        columns = dict(zip(self._header, table.columns, strict=True))
        return Piece(self._file, columns, range(before + 1, before + len(table) + 1), _Raw(block, before))

    def _read_lines(self, lines: list[bytes], last: bool) -> Iterator[Piece | Reject]:
        rows: list[list[str]] = []
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        while at < len(lines):
            try:
                row, end = self._row(lines, at, last)
            except RowError as error:
                yield self._reject(at, lines[at : at + 1], error)
                end = at + 1
            else:
                if end is None:
                    break
                if row:
                    rows.append(row)
                    starts.append(at)
                    ends.append(end)
            at = end
        if rows:
            before = self._before
            yield Piece(
                self._file,
                dict(zip(self._header, zip(*rows, strict=True), strict=True)),
                [before + start + 1 for start in starts],
                lambda index: _shown(b"\n".join(lines[starts[index] : ends[index]])),
            )
        self._open = lines[at:]
        self._before += at

    def _row(self, lines: list[bytes], at: int, last: bool) -> tuple[list[str], int | None]:
        """The row that begins on a line, and where it ends; None: not within these lines."""
        for end in range(at + 1, len(lines) + 1):
            if error := _too_long(lines[end - 1]):
                raise error if end == at + 1 else RowError("a quoted cell that begins here does not end")
            try:
                row = next(_csv([_text_of(line) + "\n" for line in lines[at:end]], self._delimiter))
            except csv.Error as error:
                if "unexpected end of data" not in str(error):
                    raise RowError(f"not CSV: {error}") from error
                if end > at + 1 and self._is_row(lines[end - 1]):
                    raise RowError("not CSV: a quoted cell that begins here swallows the next lines") from error
                if end - at >= _LONGEST_CELL_LINES:
                    break
                continue
            if end > at + 1 and self._is_row(lines[end - 1]):
                raise RowError("not CSV: a quoted cell that begins here swallows the next lines")
            if row and len(row) != len(self._header):
                raise self._wrong_cells(row)
            return row, end
        else:
            if not last:
                return [], None
        raise RowError("not CSV: a quoted cell that begins here does not end")

    def _is_row(self, line: bytes) -> bool:
        try:
            return len(next(_csv([_text_of(line)], self._delimiter), [])) == len(self._header) > 1
        except csv.Error:
            return False

    def _wrong_cells(self, row: list[str]) -> RowError:
        return RowError(f"{len(row)} cells for {len(self._header)} columns")

    def _reject(self, at: int, lines: list[bytes], error: RowError) -> Reject:
        return Reject.of(self._file, self._before + at + 1, error, _shown(b"\n".join(lines)))


def _row_a_line(block: bytes, header: list[str], delimiter: str) -> pa.RecordBatch | None:
    """The rows of lines of which each is one, as nearly always; None: they have to be looked at one by one.

    pyarrow reads what its own leniency cannot change: every quote begins or ends a whole cell.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if not _is_plain_csv(block, ord(delimiter)):
        return None
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(block),
            arrow_csv.ReadOptions(column_names=header, use_threads=False, block_size=len(block) + 1),
            arrow_csv.ParseOptions(delimiter=delimiter),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
        )
    except pa.ArrowInvalid:  # a line with more or fewer cells, or bytes that are no UTF-8
        return None
    if len(table) != _count_lines(block):
        return None
    [batch] = table.combine_chunks().to_batches()
    return batch


def _is_plain_csv(block: bytes, delimiter: int) -> bool:
    """Whether what is in quotes is a cell without a quote in it, and nothing but a line feed ends a row.

    Such a row has a line at least: when there are as many rows as lines, each line is one.
    """
    import numpy as np

    if not block or block.count(b"\r") != block.count(b"\r\n"):
        return False
    content = np.frombuffer(b"\n" + block + b"\n", np.uint8)
    if np.diff(np.flatnonzero(content == ord("\n"))).max() > csv.field_size_limit():
        return False
    quotes = np.flatnonzero(content == ord('"'))
    if len(quotes) % 2:
        return False
    before, behind = content[quotes[::2] - 1], content[quotes[1::2] + 1]
    begin = (before == delimiter) | (before == ord("\n"))
    end = (behind == delimiter) | (behind == ord("\n")) | (behind == ord("\r"))
    return bool(begin.all() and end.all())


def _read_parquet(name: str, layout: Layout, path: Path | None, file: BinaryIO) -> Iterator[Piece]:
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as copy:
        if path is None:  # Parquet is read by seeking, which a pipe cannot, nor a file that is compressed as a whole
            shutil.copyfileobj(file, copy)
        with pq.ParquetFile(path or copy) as table:
            _check_columns(name, table.schema_arrow.names, layout)
            before = 0
            for batch in table.iter_batches(_ROWS_A_PIECE):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield Piece(name, columns, range(before + 1, before + batch.num_rows + 1), _row_as_json(columns))
                before += batch.num_rows


def _row_as_json(columns: Mapping[str, pa.Array]) -> Callable[[int], str]:
    from etar.rows.columns import plain_values

    def shown(index: int) -> str:
        row = {name: plain_values(column.slice(index, 1))[0] for name, column in columns.items()}
        return json.dumps(row, default=_shown_value)

    return shown


def _shown_value(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    return value.isoformat() if isinstance(value, date) else str(value)


@contextmanager
def _broken_said(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        raise InputFileError(f"{path} cannot be read: {error}") from error


def _check_columns(file: str, names: Sequence[str], layout: Layout) -> None:
    shown = [name or f"column {number} (it has no name)" for number, name in enumerate(names, 1)]
    if missing := [name for name in layout.required if name not in names]:
        raise InputFileError(f"{file} has no column {', '.join(missing)}; it has {', '.join(shown) or 'none'}")
    if unknown := [show for name, show in zip(names, shown, strict=True) if name not in layout.names]:
        raise InputFileError(
            f"{file} has columns that are not fields of an event: {', '.join(unknown)}. "
            f"Leave them out; the fields are {', '.join(layout.names)}."
        )
    if len(set(names)) < len(names):
        raise InputFileError(f"{file} names a column twice")
