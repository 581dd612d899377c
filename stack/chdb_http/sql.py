"""Where a statement ends and its data begins, and what a checked statement is made of.

Two readers of SQL, for two purposes. ``find_insert_data`` looks at raw request bytes only to cut an INSERT's data
off; a wrong cut can at worst be a syntax error. Everything that matters for safety looks at *canonical* text: what
the engine's own parser understood, written out by its own formatter, without comments. What is checked is exactly
what then runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stack.chdb_http.errors import BAD_ARGUMENTS, FrontError

_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
       |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
       |(?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
       |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """``kind`` is word, quoted or other; ``depth`` counts the parentheses around it; ``start``/``end`` are offsets."""

    kind: str
    text: str
    depth: int
    start: int
    end: int


def tokens(sql: bytes) -> Iterator[Token]:
    """The tokens of a statement, without space and comments."""
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup if match.lastgroup != "tag" else "quoted"
        if kind == "space" or kind is None:
            continue
        text = match[0].decode("utf-8", "replace")
        depth -= text == ")"
        yield Token(kind, text, depth, match.start(), match.end())
        depth += text == "("


def find_insert_data(head: bytes) -> tuple[bytes, bytes] | None:
    """``(statement, start of the data)`` where ``head`` begins an INSERT that brings its own data, else None.

    ``head`` is the beginning of the request: the whole of it, or as much as a statement may measure. The rule for
    the first byte of data is ClickHouse's (ParserInsertQuery): after ``FORMAT name`` spaces, then one line break, are
    skipped; after ``VALUES`` nothing is.
    """
    before = ""  # the keyword or sign just read; "name" where a word was a name and no keyword
    for token in tokens(head):
        word = token.text.upper()
        if not before and word != "INSERT":
            return None
        if before in {".", "INTO", "TABLE", "FUNCTION"} and word not in {"TABLE", "FUNCTION"}:
            word = "name"
        elif token.depth == 0 and word in {"SELECT", "WITH"}:
            return None
        elif token.depth == 0 and word == "VALUES":
            return head[: token.end], head[token.end :]
        elif token.depth == 0 and before == "FORMAT":
            data = head[token.end :].lstrip(b" \t\f")
            return head[: token.end], data.removeprefix(b"\r").removeprefix(b"\n")
        before = word if token.depth == 0 else "name"
    return None


@dataclass(frozen=True)
class Statement:
    """Canonical text in parts: ``body [FORMAT format [tail]]``; ``verb`` is the first word, such as SELECT."""

    verb: str
    body: str
    format: str | None
    tail: str
    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        """The whole statement."""
        return self.body if self.format is None else f"{self.body} FORMAT `{self.format}`{self.tail}"

    def reading(self, file: str) -> str:
        """An INSERT with its data in ``file``; the grammar wants that before the SETTINGS clause."""
        raw = self.body.encode()
        # The first words are INSERT INTO and a table, whatever its name.
        found = (t.start for t in self.tokens[3:] if t.text == "SETTINGS" and t.depth == 0)
        at = next(found, len(raw))
        head, settings = raw[:at].decode().rstrip(), raw[at:].decode()
        return f"{head} FROM INFILE '{file}' COMPRESSION 'none' {settings} FORMAT `{self.format}`"

    @property
    def returns_rows(self) -> bool:
        """Whether the answer has a body whose format the client chose."""
        return self.verb in {"SELECT", "WITH", "(", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN", "CHECK", "KILL"}


def take_apart(canonical: str) -> Statement:
    """The parts of canonical text. Raises FrontError for an empty statement."""
    raw = canonical.encode()
    found = tuple(tokens(raw))
    if not found:
        raise FrontError(BAD_ARGUMENTS, "Empty query")
    # The formatter writes keywords in capitals and the FORMAT clause last but for SETTINGS.
    for keyword, name, *after in (found[i : i + 3] for i in range(len(found) - 2, 0, -1)):
        follows = not after or after[0].text == "SETTINGS"
        # Names that are keywords elsewhere, such as Values and Null, are in backticks.
        if keyword.text == "FORMAT" and keyword.depth == 0 and name.kind in {"word", "quoted"} and follows:
            body, tail = raw[: keyword.start].decode().rstrip(), raw[name.end :].decode()
            return Statement(found[0].text.upper(), body, name.text.strip("`"), tail, found)
    return Statement(found[0].text.upper(), canonical.strip(), None, "", found)
