"""A snippet shows the surroundings of the word, whatever the text is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.tables import snippet
from storage.tables.snippet import SNIPPET, Snippets

LONG = "lorem ipsum " * 1000


def shown(query: str, text: str) -> str:
    return Snippets(query.split()).of(text)


@pytest.mark.parametrize(
    ("query", "text", "wanted"),
    [
        ("quokka", LONG + "a quokka sat here " + LONG, "quokka sat"),
        ("QUOKKA", LONG + "a Quokka sat " + LONG, "Quokka sat"),
        ("quok", LONG + "a quokka sat " + LONG, "quokka sat"),
        ("muller", LONG + "Herr Müller sat " + LONG, "Müller sat"),
        ("Übergröße", LONG + "die übergröße " + LONG, "übergröße"),
        ("cat sat", "a cathedral of cats, " + LONG + "the cat sat " + LONG, "the cat sat"),
        ("a quokka", "a " + LONG + "a quokka " + LONG, "a quokka"),
        ("one-way-street", LONG + "a one-way-street " + LONG, "one-way-street"),
        ("x" * 200, LONG + "x" * 300, "…"),
    ],
)
def test_the_longest_word_is_in_it(query: str, text: str, wanted: str) -> None:
    made = shown(query, text)
    assert wanted in made
    assert made.startswith("…")
    assert len(made) <= SNIPPET + 2


def test_a_short_text_is_shown_whole() -> None:
    assert shown("fox", "the red fox") == "the red fox"


@pytest.mark.parametrize("place", [0, 8_100, 8_150, 8_190, 8_191, 8_192, 8_193, 16_380, 40_000])
def test_a_word_across_the_border_of_two_chunks_is_found(place: int) -> None:
    text = ("- " * place)[:place] + "quokka" + " -" * 1000
    assert "quokka" in shown("quokka", text)


def test_a_page_looks_through_so_many_characters_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snippet, "PAGE_CHARS", 20_000)
    of = Snippets(["quokka"]).of
    text = LONG + " quokka"
    assert "quokka" in of(text)
    assert of(text).startswith("lorem"), "the beginning, once the page has looked at enough"


@given(st.lists(st.text(max_size=8), max_size=4), st.text(max_size=400))
def test_any_text_has_a_snippet_of_itself(words: list[str], text: str) -> None:
    made = Snippets(words).of(text)
    assert len(made) <= SNIPPET + 2
    assert made.removeprefix("…").removesuffix("…") in text
