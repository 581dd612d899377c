"""No code but a stream's own folder names the stream, its columns or its report."""

from __future__ import annotations

import ast
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
    """``file:number:line`` of what has it as a whole word."""
    command = ["git", "grep", "--line-number", "--word-regexp", "--fixed-strings", "-I", word, "--", *CODE]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout
    return [re.sub(r"(:\d+:)\s*", r"\1", line, count=1) for line in found.splitlines()]


KAFKAS_OWN = ("kafka-transactions",)
"""Commands that are called like a stream."""


@cache
def prose_of(file: str) -> frozenset[int]:
    """Lines of docstrings and comments."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    lines = {number for number, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith("#")}
    for node in ast.walk(ast.parse(text)) if file.endswith(".py") else ():
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return frozenset(lines)


def names(line: str, name: str) -> bool:
    """Whether a line names a stream. A name that is a plain word may be what prose is of, or part of a command."""
    file, number, text = line.split(":", 2)
    if f"{file}:{text}" == THE_CONSTANT:
        return False
    if "_" in name:
        return True
    for other in KAFKAS_OWN:
        text = text.replace(other, "")
    return re.search(rf"\b{name}\b", text) is not None and int(number) not in prose_of(file)


@pytest.mark.parametrize("name", list(catalogue().streams))
def test_a_streams_name_stands_in_its_folder_only(name: str) -> None:
    assert [line for line in lines_with(name) if names(line, name)] == []


def test_the_first_streams_fields_stand_in_its_folder_only() -> None:
    fields = {field["name"] for field in json.loads(default_stream().schema_text or "{}")["fields"]}
    assert fields > OTHERS_WORDS
    named = {name: lines_with(name) for name in fields - OTHERS_WORDS}
    assert {name: lines for name, lines in named.items() if lines} == {}
