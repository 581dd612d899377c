"""A log of every acknowledged record, from which reports can be computed without any other part of etar."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from producer.encoding import Encoding
from producer.kinds import Draft

_LINES_A_WRITE = 1000


class EventLog:
    """JSON lines of an event's fields (its time in milliseconds since the epoch) and of the record's ``partition``,
    ``offset`` and ``kind``, which hide fields of these names.

    Several workers append to one file. Each write holds whole lines and is one call on a file opened for appending,
    which the kernel keeps apart from the others.
    """

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self._path = path
        self._logged = encoding.logged
        self._file = path.open("ab", buffering=0)
        self._lines: list[str] = []

    def add(self, draft: Draft, partition: int, offset: int) -> None:
        line = self._logged(draft.event) | {"partition": partition, "offset": offset, "kind": draft.kind}
        self._lines.append(json.dumps(line, default=str) + "\n")
        if len(self._lines) >= _LINES_A_WRITE:
            self.flush()

    def flush(self) -> None:
        """Write what is held.

        Raises:
            OSError: it does not all fit on the disk.
        """
        lines = "".join(self._lines).encode()
        self._lines.clear()
        if lines and (written := self._file.write(lines)) != len(lines):
            raise OSError(f"only {written} of {len(lines)} bytes could be written to {self._path}: is the disk full?")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._file.close()
