"""The names that a few letters stand for, the best first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transport.workspace.matching import Candidate, Names, best


def names(*paths: str, ignored: tuple[str, ...] = ()) -> Names:
    return Names.of(Candidate(path, path in ignored) for path in paths)


def found(candidates: Names, query: str) -> list[str]:
    return [one.path for one in best(candidates, query, 50)]


def test_the_name_itself_comes_before_letters_here_and_there() -> None:
    given = names("src/main_loop.py", "docs/domain.md", "main.py", "m/a/i/n.py", "src/main.py")
    assert found(given, "main") == [
        "main.py",
        "src/main.py",
        "src/main_loop.py",
        "docs/domain.md",
        "m/a/i/n.py",
    ]


def test_letters_must_come_in_order_and_case_does_not_count() -> None:
    assert found(names("README.md", "emdar"), "rEaDmE") == ["README.md"]
    assert found(names("abc"), "cba") == []


def test_all_words_must_fit() -> None:
    assert found(names("src/app/list.ts", "src/list.py"), "app list") == ["src/app/list.ts"]


def test_ignored_files_come_last() -> None:
    given = names("node_modules/list.js", "very/long/way/to/the/list.js", ignored=("node_modules/list.js",))
    assert found(given, "list") == ["very/long/way/to/the/list.js", "node_modules/list.js"]


def test_signs_of_expressions_are_letters() -> None:
    assert found(names("a.[b]*", "axb"), ".[]*") == ["a.[b]*"]


def test_what_no_path_can_have_is_not_found() -> None:
    for query in ("\0", "a\0b", "a \0"):
        assert found(names("a", "b"), query) == []


PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(PATHS, max_size=20), st.text(max_size=8))
def test_what_is_found_has_the_letters_in_order(paths: list[str], query: str) -> None:
    letters = "".join(query.casefold().split())
    for path in found(names(*paths), query):
        assert len(query.split()) > 1 or is_subsequence(letters, path.casefold())


def is_subsequence(letters: str, text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in letters)
