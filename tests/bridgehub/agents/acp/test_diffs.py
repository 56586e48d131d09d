"""What a call changes: with the lines' numbers in the file, also if the agent gives a part of it or says it early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridgehub.agents.acp.tools import MAX_DIFF_CHARS, MAX_KEPT_DIFF_CHARS, ToolCall
from bridgehub.agents.json_rpc.messages import Fields

LINES = "".join(f"line {number}\n" for number in range(1, 101))
CHANGED = LINES.replace("line 50\n", "changed\n")


def change(path: str, old: str | None, new: str) -> dict[str, Any]:
    return {"type": "diff", "path": path, "oldText": old, "newText": new}


def call(*content: dict[str, Any]) -> ToolCall:
    tool = ToolCall("a", kind="edit")
    tool.take(Fields({"content": list(content)}))
    return tool


@pytest.mark.parametrize(("is_over", "text"), [(False, LINES), (True, CHANGED)])
def test_a_part_of_a_file_gets_the_numbers_of_its_lines(tmp_path: Path, is_over: bool, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    tool = call(change(str(tmp_path / "a.txt"), "line 50", "changed"))
    (entry,) = tool.diff(str(tmp_path), is_over=is_over) or []
    assert (entry["path"], entry["added"], entry["removed"]) == ("a.txt", 1, 1)
    assert "@@ -47,7 +47,7 @@\n line 47\n" in entry["patch"]
    assert "-line 50\n+changed\n" in entry["patch"]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("line", "changed", LINES),  # it is there many times
        ("elsewhere", "changed", LINES),
        ("gone", "changed", None),
        ("line 50", "changed", "x" * (MAX_DIFF_CHARS + 1) + "line 50"),
    ],
)
def test_a_part_that_is_not_found_is_shown_as_it_is(
    tmp_path: Path, old: str, new: str, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "a.txt").write_text(text)
    (entry,) = call(change("a.txt", old, new)).diff(str(tmp_path)) or []
    assert (entry["added"], entry["removed"], "@@ -1,1 +1,1 @@" in entry["patch"]) == (1, 1, True)


def test_nothing_outside_the_workspace_is_read(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (tmp_path / "secret").write_text("before\nmine\nafter\n")
    (workspace / "link").symlink_to(tmp_path / "secret")
    for path in (str(tmp_path / "secret"), "link"):
        (entry,) = call(change(path, "mine", "yours")).diff(str(workspace)) or []
        assert "before" not in entry["patch"]


def test_the_whole_file_of_the_question_is_kept_to_the_end(tmp_path: Path) -> None:
    for told in ([], [change("a.txt", "line 50", "changed")]):
        tool = call(change("a.txt", LINES, CHANGED))
        tool.take(
            Fields({"content": [*told, {"type": "content", "content": {"type": "text", "text": "ok"}}]})
        )
        (entry,) = tool.diff(str(tmp_path), is_over=True) or []
        assert "@@ -47,7 +47,7 @@" in entry["patch"]
    tool = call(change("a.txt", LINES, CHANGED))
    tool.take(Fields({"content": [change("a.txt", LINES, "other\n")]}))
    (entry,) = tool.diff(str(tmp_path), is_over=True) or []
    assert entry["patch"].endswith("+other\n"), "another change replaces it"


def test_a_file_that_was_missing_at_the_question_is_a_new_one(tmp_path: Path) -> None:
    tool = call(change("a.txt", "", "hello\n"))
    assert [one["status"] for one in tool.diff(str(tmp_path)) or []] == ["added"]
    (tmp_path / "a.txt").write_text("hello\n")
    tool.take(Fields({"content": []}))
    assert [one["status"] for one in tool.diff(str(tmp_path), is_over=True) or []] == ["added"]


def test_what_is_kept_of_diffs_is_bounded() -> None:
    tool = call(change("a.txt", None, "x" * MAX_KEPT_DIFF_CHARS))
    tool.trim()
    assert tool.changes == {}
    many = call(*(change(f"{number}.txt", None, "x") for number in range(500)))
    assert len(many.changes) == 50
