from __future__ import annotations

import pytest

from dashboard.api.security import Access, MissingTokenError, Tokens, WrongTokenError

TOKENS = Tokens(read="read-token-0123456789", write="write-token-0123456789")


@pytest.mark.parametrize(("access", "token"), [(Access.READ, TOKENS.read), (Access.WRITE, TOKENS.write)])
def test_each_token_allows_its_own_access(access: Access, token: str) -> None:
    assert TOKENS.require(access, token) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(("access", "token"), [(Access.WRITE, TOKENS.read), (Access.READ, TOKENS.write)])
def test_neither_token_allows_the_other_access(access: Access, token: str) -> None:
    with pytest.raises(WrongTokenError, match=f"the {access} token is needed"):
        TOKENS.require(access, token)


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize(
    "token", [None, "", "unknown", TOKENS.read[:-1], TOKENS.read + "x", TOKENS.write.upper(), "tökén ☃"]
)
def test_what_is_no_token_is_not_known(access: Access, token: str | None) -> None:
    with pytest.raises(MissingTokenError, match=f"the {access} token"):
        TOKENS.require(access, token)


def test_one_token_for_both_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="give each its own value"):
        Tokens(read="the-same-0123456789", write="the-same-0123456789")


def test_tokens_are_not_shown() -> None:
    assert TOKENS.read not in repr(TOKENS)
    assert TOKENS.write not in repr(TOKENS)
