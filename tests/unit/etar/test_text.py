from __future__ import annotations

from etar.text import hex_lines


def test_bytes_are_shown_in_lines_of_sixteen_with_what_prints_beside_them() -> None:
    assert list(hex_lines(b"\0\x1f" + b"a" * 15, 100)) == [
        "00000000  00 1f 61 61 61 61 61 61 61 61 61 61 61 61 61 61  ..aaaaaaaaaaaaaa",
        "00000010  61                                               a",
    ]


def test_no_more_bytes_are_shown_than_asked_for() -> None:
    assert list(hex_lines(b"ab" * 1_000, 3)) == ["00000000  61 62 61                                         aba"]
    assert list(hex_lines(b"", 3)) == []
