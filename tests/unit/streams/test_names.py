"""No code but a stream's own folder names the stream, its columns or its report."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache

import pytest

from etar.streams import DEFAULT_STREAM, catalogue, default_stream
from stack.layout import REPOSITORY

CODE = (
    *("plugins", "cli", "connect", "dags", "dashboard", "docker", "producer", "spark_apps", "sql", "stack"),
    "docker-compose.yml",
)
THE_CONSTANT = f'plugins/etar/streams/definition.py:DEFAULT_STREAM = "{DEFAULT_STREAM}"'

OTHERS_WORDS = frozenset(
    {"event_id", "event_time", "status", "device", "country", "amount", "error_code", "session_id", "user_id"}
)
"""Fields of the first stream that are called like what a stream's are by default, or what is Kafka's, HTTP's or
ClickHouse's, or an example's."""


@cache
def lines_with(word: str) -> list[str]:
    """``file:line`` of what names it as a whole word."""
    command = ["git", "grep", "--word-regexp", "--fixed-strings", "-I", word, "--", *CODE]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout
    return [re.sub(r":\s*", ":", line, count=1) for line in found.splitlines()]


@pytest.mark.parametrize("name", list(catalogue().streams))
def test_a_streams_name_stands_in_its_folder_only(name: str) -> None:
    assert [line for line in lines_with(name) if line != THE_CONSTANT] == []


def test_the_first_streams_fields_stand_in_its_folder_only() -> None:
    fields = {field["name"] for field in json.loads(default_stream().schema_text or "{}")["fields"]}
    assert fields > OTHERS_WORDS
    named = {name: lines_with(name) for name in fields - OTHERS_WORDS}
    assert {name: lines for name, lines in named.items() if lines} == {}
