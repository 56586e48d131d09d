"""What an edit changes, as a patch that git takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridgehub.agents.diffs import apply_edits, entry_of_hunks, entry_of_patch, entry_of_texts, relative


def apply(folder: Path, patch: str) -> None:
    done = subprocess.run(
        ["git", "apply", "-"], cwd=folder, input=patch.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stderr, patch)


LINES = st.lists(st.sampled_from(["a", "b", "", "c d"]), max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LINES, LINES, st.booleans(), st.booleans())
def test_git_takes_the_patch_of_any_two_texts(
    tmp_path: Path, old: list[str], new: list[str], old_ends: bool, new_ends: bool
) -> None:
    before = "\n".join(old) + ("\n" if old_ends and old else "")
    after = "\n".join(new) + ("\n" if new_ends and new else "")
    if not before or not after or before == after:
        return
    file = tmp_path / 'odd "é.txt'
    file.write_text(before)
    entry = entry_of_texts(file.name, before, after)
    apply(tmp_path, entry["patch"])
    assert file.read_text() == after


def test_a_new_and_a_removed_file(tmp_path: Path) -> None:
    added = entry_of_texts("a.txt", None, "1\n2\n")
    assert (added["status"], added["added"], added["removed"]) == ("added", 2, 0)
    apply(tmp_path, added["patch"])
    assert (tmp_path / "a.txt").read_text() == "1\n2\n"
    apply(tmp_path, entry_of_texts("a.txt", "1\n2\n", None)["patch"])
    assert not (tmp_path / "a.txt").exists()


def test_the_hunks_of_claude_keep_their_line_numbers() -> None:
    hunk = {"oldStart": 7, "oldLines": 2, "newStart": 7, "newLines": 2, "lines": [" a", "-b", "+c"]}
    entry = entry_of_hunks("a.txt", [hunk])
    assert entry is not None
    assert "@@ -7,2 +7,2 @@\n a\n-b\n+c\n" in entry["patch"]
    assert (entry["added"], entry["removed"]) == (1, 1)
    assert entry_of_hunks("a.txt", [{"lines": "x"}]) is None


def test_the_hunks_of_codex_get_a_header() -> None:
    entry = entry_of_patch("b.txt", "@@ -1 +1 @@\n-a\n+b\n", "a.txt")
    assert entry["patch"].startswith(
        "diff --git a/a.txt b/b.txt\nrename from a.txt\nrename to b.txt\n--- a/a.txt"
    )
    assert entry["status"] == "renamed"


def test_a_long_patch_is_left_out() -> None:
    entry = entry_of_texts("a", None, "x\n" * 9000)
    assert (entry["patch"], entry["truncated"], entry["added"]) == (None, True, 9000)


@pytest.mark.parametrize(
    ("edit", "after"),
    [
        ({"old_string": "a", "new_string": "b"}, "b a\n"),
        ({"old_string": "a", "new_string": "b", "replace_all": True}, "b b\n"),
        ({"old_string": "c", "new_string": "b"}, None),
        ("nonsense", None),
    ],
)
def test_edits_of_claude(edit: object, after: str | None) -> None:
    assert apply_edits("a a\n", [edit]) == after


def test_paths_below_the_workspace_are_relative() -> None:
    assert relative("/w/src/a.py", "/w/") == "src/a.py"
    assert relative("/wide/a.py", "/w") == "/wide/a.py"
