"""Whose token a request has, and whether that role may do what is asked."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from etar.api_tokens import Role
from etar.settings import ReportApiSettings

_ARTICLE = {Role.READER: "a", Role.OPERATOR: "an", Role.WRITER: "a"}


class MissingTokenError(Exception):
    """No bearer token, or one that was never given out."""


class WrongTokenError(Exception):
    """A good token, but of a role that may not do this."""


@dataclass(frozen=True)
class Holder:
    """Who asks: the name of the token, never the token, and its role."""

    name: str
    role: Role


@dataclass(frozen=True)
class EnvironmentTokens:
    """The two tokens that the API's environment gives: the first reader's and the first writer's.

    Raises:
        ValueError: both are the same, so that a reader could write.
    """

    reader: str = field(repr=False)
    writer: str = field(repr=False)

    def __post_init__(self) -> None:
        if secrets.compare_digest(self.reader.encode(), self.writer.encode()):
            raise ValueError("ETAR_API_READ_TOKEN and ETAR_API_WRITE_TOKEN are the same; give each its own value")

    @classmethod
    def of(cls, settings: ReportApiSettings) -> EnvironmentTokens:
        return cls(settings.read_token.get_secret_value(), settings.write_token.get_secret_value())

    def holder(self, presented: str) -> Holder | None:
        """Whose token this is; None: neither's."""
        token = presented.encode()
        # Both are always compared, so that the time taken says nothing about either.
        is_reader = secrets.compare_digest(token, self.reader.encode())
        is_writer = secrets.compare_digest(token, self.writer.encode())
        if is_reader:
            return Holder("ETAR_API_READ_TOKEN", Role.READER)
        return Holder("ETAR_API_WRITE_TOKEN", Role.WRITER) if is_writer else None


def require(role: Role, presented: str | None, holder: Holder | None) -> Holder:
    """The holder, who may do what ``role`` does.

    Args:
        presented: the token of the request, if it has one.
        holder: whose it is, if anybody's.

    Raises:
        MissingTokenError: nothing was presented, or a token nobody knows.
        WrongTokenError: the token is of a role that may not do this.
    """
    needed = " or ".join(f"{_ARTICLE[each]} {each}'s" for each in Role if each.may(role))
    if presented is None:
        raise MissingTokenError(f"a bearer token is needed, {needed}")
    if holder is None:
        raise MissingTokenError(f"this bearer token is not known, or not any more; {needed} is needed")
    if not holder.role.may(role):
        raise WrongTokenError(f"this token is {_ARTICLE[holder.role]} {holder.role}'s; {needed} is needed")
    return holder
