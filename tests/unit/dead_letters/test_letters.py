"""Names of letters, and the documented list of reasons."""

from __future__ import annotations

import re

import pytest

from etar.dead_letters import Reason
from etar.dead_letters.letters import LetterId, Selection, UnknownLetterError
from stack.layout import REPOSITORY


def test_a_letters_name_is_read_back() -> None:
    assert LetterId.parse("3:1042") == LetterId(3, 1042)
    assert str(LetterId(3, 1042)) == "3:1042"


@pytest.mark.parametrize("text", ["", "3", "3:", ":1", "3:-1", "-3:1", "3:1:2", "a:b", "3:1 ", "3:" + "9" * 19])
def test_what_names_no_letter_is_refused(text: str) -> None:
    with pytest.raises(UnknownLetterError, match="PARTITION:OFFSET"):
        LetterId.parse(text)


def test_only_a_selection_without_filters_is_everything() -> None:
    assert Selection().everything
    assert not Selection(ids=(LetterId(0, 0),)).everything
    assert not Selection(reasons=frozenset({Reason.NOT_AVRO})).everything


def test_the_documentation_lists_every_reason_once_and_no_other() -> None:
    text = (REPOSITORY / "docs" / "dead-letters.md").read_text()
    table = text.partition("## Reasons")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert listed == [reason.value for reason in Reason]
