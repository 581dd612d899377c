"""Bearer tokens: one to write reports, one to read them, and neither does what the other does."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from etar.settings import ReportApiSettings


class Access(StrEnum):
    """What a token allows."""

    READ = "read"
    WRITE = "write"


class MissingTokenError(Exception):
    """No bearer token, or one that was never given out."""


class WrongTokenError(Exception):
    """A good token, but for the other kind of access."""


@dataclass(frozen=True)
class Tokens:
    """The two tokens of one API.

    Raises:
        ValueError: both are the same, so that a reader could write.
    """

    read: str = field(repr=False)
    write: str = field(repr=False)

    def __post_init__(self) -> None:
        if secrets.compare_digest(self.read.encode(), self.write.encode()):
            raise ValueError("ETAR_API_READ_TOKEN and ETAR_API_WRITE_TOKEN are the same; give each its own value")

    @classmethod
    def of(cls, settings: ReportApiSettings) -> Tokens:
        return cls(settings.read_token.get_secret_value(), settings.write_token.get_secret_value())

    def require(self, access: Access, presented: str | None) -> None:
        """Return when ``presented`` allows ``access``.

        Raises:
            MissingTokenError: nothing was presented, or a token nobody knows.
            WrongTokenError: the token is the one for the other kind of access.
        """
        if presented is None:
            raise MissingTokenError(f"a bearer token is needed: the {access} token")
        token = presented.encode()
        # Both are always compared, so that the time taken says nothing about either.
        is_read = secrets.compare_digest(token, self.read.encode())
        is_write = secrets.compare_digest(token, self.write.encode())
        if not (is_read or is_write):
            raise MissingTokenError(f"this bearer token is not known; the {access} token is needed")
        if access is not (Access.READ if is_read else Access.WRITE):
            raise WrongTokenError(f"this token does not allow to {access}; the {access} token is needed")
