"""Tokens of the report API: what the role of each may do, and which of them are good.

A token is shown once, when it is made. The report store has its SHA-256: of 256 random bits that is enough, since
nobody can try them all. A slow hash is for what people think up (NIST SP 800-63B, 5.1.2.2).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

if TYPE_CHECKING:
    import psycopg

SEEN_SECONDS: Final = 2.0
"""After so long at most the API knows what was changed."""

_BITS = 256
_PREFIX = "etar_"
"""What finds a token in a text that it should not stand in."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

_GOOD = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > statement_timestamp())"
_COLUMNS = "id, name, role, created_at, expires_at, revoked_at, last_used_at"
SELECT_GOOD: Final = f"SELECT sha256, {_COLUMNS} FROM api_tokens WHERE {_GOOD}"
USED: Final = "UPDATE api_tokens SET last_used_at = statement_timestamp() WHERE id = %(id)s"


class Role(StrEnum):
    """What the holder of a token does."""

    READER = "reader"
    OPERATOR = "operator"
    WRITER = "writer"

    def may(self, needed: Role) -> bool:
        """Whether it does what ``needed`` does: an operator also reads, and each of the others does its own alone."""
        return self is needed or (self is Role.OPERATOR and needed is Role.READER)


class TokenError(Exception):
    """A token cannot be made or changed as asked; says why, and what to do."""


class ApiToken(BaseModel):
    """What is known of a token, which is not the token itself."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    role: Role
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def hashed(token: str) -> bytes:
    """As the store knows a token."""
    return sha256(token.encode()).digest()


def create(connection: psycopg.Connection[Any], name: str, role: Role, *, lifetime: timedelta | None = None) -> str:
    """A new token, which nobody can be told a second time. Without ``lifetime`` it is good until it is revoked.

    Raises:
        TokenError: the name is none, or has a token that is good.
    """
    if not _NAME.fullmatch(name):
        raise TokenError(
            f"{name!a} is no name of a token: write a small letter or a digit, then up to 62 of those, '.', '_' and '-'"
        )
    with _alone(connection):
        if _good(connection, name):
            raise TokenError(f"there is a token {name} that is good; rotate it, revoke it, or choose another name")
        return _insert(connection, name, role, lifetime)


def rotate(connection: psycopg.Connection[Any], name: str, *, overlap: timedelta) -> str:
    """A new token in place of the one of this name, of the same role and lifetime; that one is good for the
    ``overlap``, and no longer than it would have been.

    Raises:
        TokenError: none of this name is good.
    """
    with _alone(connection):
        good = _good(connection, name)
        if not good:
            raise TokenError(f"there is no token {name} that is good; `etar token list --all` shows all there were")
        newest = good[-1]
        lifetime = newest.expires_at - newest.created_at if newest.expires_at else None
        connection.execute(
            "UPDATE api_tokens SET expires_at = least(expires_at, statement_timestamp() + %s) "
            f"WHERE name = %s AND {_GOOD}".encode(),
            (overlap, name),
        )
        return _insert(connection, name, newest.role, lifetime)


def revoke(connection: psycopg.Connection[Any], name: str) -> int:
    """End what is good of this name, also what an overlap keeps; returns how many tokens that were."""
    return connection.execute(
        f"UPDATE api_tokens SET revoked_at = statement_timestamp() WHERE name = %s AND {_GOOD}".encode(), (name,)
    ).rowcount


def known(connection: psycopg.Connection[Any]) -> list[ApiToken]:
    """Every token that there ever was, by name, the oldest first."""
    return _rows(connection, f"SELECT {_COLUMNS} FROM api_tokens ORDER BY name, id", ())


@contextmanager
def _alone(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Whoever makes a token at the same time waits, so that a name has one. The API does not: it makes none."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('api_tokens', 0))")
        yield


def _good(connection: psycopg.Connection[Any], name: str) -> list[ApiToken]:
    return _rows(connection, f"SELECT {_COLUMNS} FROM api_tokens WHERE name = %s AND {_GOOD} ORDER BY id", (name,))


def _insert(connection: psycopg.Connection[Any], name: str, role: Role, lifetime: timedelta | None) -> str:
    token = _PREFIX + secrets.token_urlsafe(_BITS // 8)
    connection.execute(
        "INSERT INTO api_tokens (name, role, sha256, expires_at) VALUES (%s, %s, %s, statement_timestamp() + %s)",
        (name, role, hashed(token), lifetime),
    )
    return token


def _rows(connection: psycopg.Connection[Any], query: str, parameters: tuple[Any, ...]) -> list[ApiToken]:
    from psycopg.rows import class_row

    with connection.cursor(row_factory=class_row(ApiToken)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()
