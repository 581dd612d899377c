"""A front whose engine failed ends, so that its supervisor starts one that works."""

import pytest

from stack.chdb_http.engine import EXIT_ENGINE_FAILED, Session
from stack.chdb_http.errors import FrontError


class Refusing:
    """A connection that refuses every query: the engine cannot be made to fail to order."""

    def __init__(self, text: str) -> None:
        self._text = text

    def query(self, *_: str) -> None:
        raise RuntimeError(self._text)


def session_that_meets(text: str) -> Session:
    session = Session.__new__(Session)
    session._connection = Refusing(text)
    return session


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    return codes


def test_an_engine_that_is_dying_ends_the_process(exits: list[int]) -> None:
    text = "Code: 236. DB::Exception: The server is shutting down due to a fatal error. (ABORTED)"
    with pytest.raises(FrontError):
        session_that_meets(text)._query("SELECT 1")
    assert exits == [EXIT_ENGINE_FAILED]


@pytest.mark.parametrize(
    "text",
    ["Code: 236. DB::Exception: Cancelled merging parts. (ABORTED)", "Code: 60. DB::Exception: none (UNKNOWN_TABLE)"],
)
def test_any_other_refusal_is_the_clients(exits: list[int], text: str) -> None:
    with pytest.raises(FrontError):
        session_that_meets(text)._query("SELECT 1")
    assert exits == []
