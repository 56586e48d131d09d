"""A request says all, and nothing in it is invisible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.request_text import shown_input, visible


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ls -la", "ls -la"),
        ("ls" + " " * 700 + "; rm", "ls⟦700 blanks⟧; rm"),
        ("ls\t" + " " * 20 + "; rm", "ls⟦21 blanks⟧; rm"),
        ("def f():\n            return 1", "def f():\n            return 1"),
        (" " * 300 + "rm", "⟦300 blanks⟧rm"),
        ("a\n\n\nb", "a\n\n\nb"),
        ("a" + "\n" * 40 + "b", "a\n⟦39 empty lines⟧\nb"),
        ("a\u200bb", "a\\u{200b}b"),
        ("a\u202egpj.exe", "a\\u{202e}gpj.exe"),
        ("a\xa0b\u2003c", "a\\u{a0}b\\u{2003}c"),
        ("a\u3164b\u2800c", "a\\u{3164}b\\u{2800}c"),
        ("a\rb\x1b[2Jc", "a\\u{d}b\\u{1b}[2Jc"),
        ("Größe 日本", "Größe 日本"),
    ],
)
def test_what_cannot_be_seen_is_named(text: str, wanted: str) -> None:
    assert visible(text) == wanted


@given(st.text())
def test_only_new_lines_and_tabs_stay_unprinted(text: str) -> None:
    assert set(filter(lambda char: not char.isprintable(), visible(text))) <= {"\n", "\t"}


def test_a_cut_text_says_so() -> None:
    assert shown_input({"command": "ls"}, 100) == ('{"command":"ls"}', True)
    text, is_whole = shown_input({"command": "x" * 300}, 100)
    assert (len(text), text[-2:], is_whole) == (102, " …", False)
    assert shown_input("x" * 100, 100) == ("x" * 100, True)
    assert shown_input("x" * 101, 100)[1] is False
    assert shown_input(" " * 201, 100)[1] is False, "what is counted is not looked at without end"
    assert shown_input({"clipped": "nested over 64 levels"}, 1000)[1] is False


def test_a_longer_object_has_a_line_for_each_field() -> None:
    text, is_whole = shown_input({"command": "one\ntwo" + "x" * 160, "timeout": 5}, 1000)
    assert text.split("\n") == ["command: one", "two" + "x" * 160, "timeout: 5"]
    assert is_whole
