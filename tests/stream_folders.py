"""Streams of a test's own, in folders, for whoever looks at a folder and not at a test."""

from __future__ import annotations

import atexit
import json
import re
import shutil
from pathlib import Path

from etar.settings import StreamSettings
from etar.streams import Stream, catalogue
from stack.layout import BUILD

MADE = BUILD / "test-streams"
FOLDERS = f"streams:{MADE}"
"""``ETAR_STREAMS_FOLDERS`` of the single parts that tests start, and of the tests."""


def like_the_first(name: str) -> Stream:
    """As :func:`like`, of the first stream."""
    return like("user_interactions", name)


def like(other: str, name: str) -> Stream:
    """A stream of this name that is like another; its folder is gone when this process has ended."""
    folder = MADE / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stream.toml").write_text(f'[stream]\nname = "{name}"\nlike = "{other}"\n')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return catalogue(StreamSettings(streams_folders=FOLDERS)).named(name)


def copy_of(other: str, name: str) -> Stream:
    """A stream of this name with a folder like another's, and jobs of its own: ``category-sales-<name>``. Its folder is
    gone when this process has ended."""
    known = catalogue(StreamSettings(streams_folders=FOLDERS)).named(other)
    assert known.folder
    folder = shutil.copytree(known.folder, MADE / name)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for file in (folder / "stream.toml", *(folder / "sql").glob("*.sql")):
        text = file.read_text()
        for job in known.jobs:
            text = text.replace(f'"{job.name}"', f'"{job.name}-{name.replace("_", "-")}"')
        # Its windows, the last section, are in the other's table, which is one stream's.
        file.write_text(re.sub(rf"\b{other}\b", name, text.partition("[windows]")[0]))
    return catalogue(StreamSettings(streams_folders=FOLDERS)).named(name)


def define(folder: Path, name: str, **files: str) -> None:
    """A stream of a few fields in ``folder/name``: ``define(folder, "sales", **{"report.py": …})``. What is there
    already stays, but for files of the same name."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    definition = f'[stream]\nname = "{name}"\n[event]\nid = ["event_id"]\ntime = "event_time"\n'
    fields = [{"name": field, "type": kind} for field, kind in _FIELDS.items()]
    schema = json.dumps({"type": "record", "name": "Event", "fields": fields})
    for file, text in {"stream.toml": definition, "schema.avsc": schema, **files}.items():
        if file in files or not (own / file).exists():
            (own / file).write_text(text)


_FIELDS: dict[str, object] = {
    "event_id": {"type": "string", "logicalType": "uuid"},
    "event_time": {"type": "long", "logicalType": "timestamp-millis"},
    "amount": ["null", "long"],
}
