"""The producer knows no stream but by its folder, and its command is quick to say what it can."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import producer
from etar.streams import default_stream


def test_no_field_of_the_first_stream_is_named() -> None:
    names = [field["name"] for field in json.loads(default_stream().schema_text or "")["fields"]]
    assert len(names) > 5
    word = re.compile(rf"\b({'|'.join(names)})\b")
    files = list(Path(producer.__path__[0]).glob("*.py"))
    assert len(files) > 10
    assert not [f"{file.name}: {found[0]}" for file in files for found in word.finditer(file.read_text())]


def test_help_loads_nothing_that_is_heavy() -> None:
    heavy = ("pyarrow", "fastavro", "numpy", "confluent_kafka")
    code = f"import sys, producer.command; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
