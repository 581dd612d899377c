from __future__ import annotations

from typing import Any

import pytest
import streamlit as st


class Remembered(dict[str, Any]):
    """In place of what Streamlit keeps of a session, which there is only while a page is served."""

    def from_dict(self, values: dict[str, Any]) -> None:
        self.clear()
        self.update(values)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer who has just opened a page."""
    monkeypatch.setattr(st, "session_state", Remembered())
    monkeypatch.setattr(st, "query_params", Remembered())
