"""The list of Claude Code's sessions, one whole, and what was added to it. No bytes of a file end anything."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridgehub.desk import claude_rows
from bridgehub.desk.claude_files import ClaudeFiles
from bridgehub.desk.claude_rows import read_branch
from bridgehub.desk.files import backwards, forwards, open_record, parse, whole_size
from bridgehub.desk.looking import look_at_claude
from bridgehub.desk.records import Began, DeskEvent, Ended, Said, ToolCalled, ToolReturned
from bridgehub.desk.turns import Turns
from builderos.ids import wall_clock_ms
from tests.bridgehub.desk.transcripts import Transcript, uid

ONE = uid(1 << 100)


def told(files: ClaudeFiles, path: Path, messages: int = 100) -> list[DeskEvent]:
    branch = files.branch(str(path), path.stat().st_size, messages=messages, size=1 << 20)
    return list(Turns().all(branch.rows))


def texts(events: list[DeskEvent]) -> list[str]:
    return [one.text or "" for one in events if isinstance(one, Began | Said)]


def small() -> Transcript:
    made = Transcript()
    made.other({"type": "mode", "mode": "default"})
    made.user("plan a trip")
    made.add("attachment", attachment={"type": "date", "date": "2026-11-29"})
    made.says("Where to?")
    return made


def test_list_has_titles_and_counts_and_leaves_damage_out(tmp_path: Path) -> None:
    made = small()
    made.user("to the sea")
    made.says("Nice.")
    made.other({"type": "custom-title", "customTitle": "Holiday", "sessionId": ONE})
    path = made.write(tmp_path, ONE)
    path.write_bytes(
        path.read_bytes() + b'{"type":"user", damaged\n\xff\xfe\n{"type":"from-the-future","x":1}\n'
    )
    damaged = tmp_path / "projects" / "-work-trip" / f"{uid(2)}.jsonl"
    damaged.write_bytes(b"\x00\xff no transcript\n")
    os.mkfifo(tmp_path / "projects" / "-work-trip" / f"{uid(3)}.jsonl")
    Transcript().write(tmp_path, uid(4))  # nobody said anything in it
    before = path.read_bytes()
    sessions, unreadable = ClaudeFiles(tmp_path, wall_clock_ms).sessions()
    (one,) = sessions
    assert (one.title, one.first_message, one.workspace) == ("Holiday", "plan a trip", "/work/trip")
    assert (one.message_count, unreadable) == (4, 2)
    assert path.read_bytes() == before


def test_list_reads_a_file_again_only_if_it_changed(tmp_path: Path) -> None:
    path = small().write(tmp_path, ONE)
    files = ClaudeFiles(tmp_path, wall_clock_ms)
    (first,) = files.sessions()[0]
    told_at = path.stat()
    path.write_bytes(path.read_bytes().replace(b"plan a trip", b"PLAN A TRIP"))
    os.utime(path, ns=(told_at.st_atime_ns, told_at.st_mtime_ns))
    assert files.sessions()[0] == [first]
    os.utime(path, ns=(told_at.st_atime_ns, told_at.st_mtime_ns + 1))
    assert files.sessions()[0][0].first_message == "PLAN A TRIP"


def test_large_transcript_is_read_by_its_ends_in_bounded_memory(tmp_path: Path) -> None:
    made = small()
    path = made.write(tmp_path, ONE)
    filler = json.dumps({"type": "api-request-blob", "x": "y" * 1_000_000}).encode() + b"\n"
    with path.open("ab") as file:
        for _ in range(40):
            file.write(filler)
        more = Transcript(count=10, leaf=made.leaf)
        more.user("and back")
        more.says("Home.")
        file.write(more.data())
    files = ClaudeFiles(tmp_path, wall_clock_ms)
    tracemalloc.start()
    try:
        assert len(files.sessions()[0]) == 1
        assert texts(told(files, path)) == ["plan a trip", "Where to?", "and back", "Home."]
        assert tracemalloc.get_traced_memory()[1] < 24_000_000
    finally:
        tracemalloc.stop()


def test_history_has_diffs_and_not_the_programs_own_words(tmp_path: Path) -> None:
    made = small()
    made.user("<local-command-stdout>Set model</local-command-stdout>")
    made.user("Caveat: The messages below were generated", isMeta=True)
    made.user("A summary.", isCompactSummary=True)
    made.user("<command-name>/review</command-name><command-args>a.txt</command-args>")
    made.says({"type": "thinking", "thinking": "hm"}, rests=False)
    made.says(
        {"type": "tool_use", "id": "t1", "name": "Edit", "input": {"file_path": "/work/trip/a"}}, rests=False
    )
    hunk = {"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-a", "+b"]}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "ok"}]}
    made.user([result], toolUseResult={"filePath": "/work/trip/a", "structuredPatch": [hunk]})
    made.add("user", isSidechain=True, message={"content": "a sub-agent's"}, parent=made.leaf)
    made.leaf = uid(made.count - 1)
    made.says("Done.")
    made.user("stop")
    made.user([{"type": "text", "text": "[Request interrupted by user]"}])
    events = told(ClaudeFiles(tmp_path, wall_clock_ms), made.write(tmp_path, ONE))
    assert texts(events) == ["plan a trip", "Where to?", "/review a.txt", "hm", "Done.", "stop"]
    assert [one.name for one in events if isinstance(one, ToolCalled)] == ["Edit"]
    (returned,) = [one for one in events if isinstance(one, ToolReturned)]
    assert (returned.output, returned.diff[0]["added"], returned.diff[0]["removed"]) == ("ok", 1, 1)
    assert [one.was_interrupted for one in events if isinstance(one, Ended)] == [False, False, True]


def test_tools_that_ran_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    made = small()
    made.user("two at once")
    first = made.says({"type": "tool_use", "id": "a", "name": "Bash", "input": {}}, rests=False, message="m")
    second = made.says({"type": "tool_use", "id": "b", "name": "Bash", "input": {}}, rests=False, message="m")
    results = [[{"type": "tool_result", "tool_use_id": one, "content": one}] for one in ("a", "b")]
    made.user(results[1], parent=second, sourceToolAssistantUUID=second)
    made.user(results[0], parent=first, sourceToolAssistantUUID=first)
    made.says("Both.")
    events = told(ClaudeFiles(tmp_path, wall_clock_ms), made.write(tmp_path, ONE))
    assert {one.tool_id for one in events if isinstance(one, ToolCalled)} == {"a", "b"}
    assert {one.output for one in events if isinstance(one, ToolReturned)} == {"a", "b"}


def test_branch_follows_a_rewind_and_the_noted_leaf(tmp_path: Path) -> None:
    made = small()
    kept = made.leaf
    made.user("wrong way")
    left = made.says("Lost.")
    made.user("right way", parent=kept)
    made.says("Found.")
    path = made.write(tmp_path, ONE)
    files = ClaudeFiles(tmp_path, wall_clock_ms)
    assert texts(told(files, path)) == ["plan a trip", "Where to?", "right way", "Found."]
    made.other({"type": "last-prompt", "leafUuid": left})
    assert texts(told(files, made.write(tmp_path, ONE)))[-1] == "Lost."
    made.other({"type": "last-prompt", "leafUuid": uid(999)})  # a row that is not there
    assert texts(told(files, made.write(tmp_path, ONE)))[-1] == "Found."


def test_history_is_cut_at_the_newest_messages(tmp_path: Path) -> None:
    made = Transcript()
    for number in range(50):
        made.user(f"q{number}")
        made.says(f"a{number}")
    path = made.write(tmp_path, ONE)
    branch = ClaudeFiles(tmp_path, wall_clock_ms).branch(
        str(path), path.stat().st_size, messages=10, size=1 << 20
    )
    assert branch.is_cut
    assert texts(list(Turns().all(branch.rows)))[0] == "q40"


def test_history_of_tools_without_words_is_cut_too(tmp_path: Path) -> None:
    """Each row costs memory and time, also one that says next to nothing."""
    made = Transcript()
    made.user("begin")
    for number in range(500):
        made.says({"type": "tool_use", "id": f"t{number}", "name": "B", "input": {}}, rests=False)
        made.user([{"type": "tool_result", "tool_use_id": f"t{number}", "content": ""}])
    path = made.write(tmp_path, ONE)
    files, end = ClaudeFiles(tmp_path, wall_clock_ms), path.stat().st_size
    branch = files.branch(str(path), end, messages=10, size=40_000)
    assert branch.is_cut
    assert 90 < len(branch.rows) <= 101
    known = files.branch(str(path), end, messages=10, wanted={uid(1), uid(7), uid(5000)})
    assert (known.ids, known.rows) == ({uid(1), uid(7)}, [])


def test_a_record_is_read_until_the_wanted_rows_are_found(tmp_path: Path) -> None:
    made = small()
    kept, left = made.says("And when?"), made.user("wrong way")
    newest = made.user("right way", parent=kept)
    read = []

    def lines() -> Iterator[bytes]:
        for line in reversed(made.data().splitlines()):
            read.append(line)
            yield line

    found = read_branch(lines(), messages=10, wanted={newest, kept})
    assert found.ids == {newest, kept}
    assert len(read) == 3
    found = read_branch(lines(), messages=10, wanted={newest, left})
    assert found.ids == {newest}, "the other one is not on the branch"


def test_rows_that_are_not_of_the_tree_are_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small()
    for _ in range(20):
        made.other({"type": "api-request-blob", "hash": "h", "message": {"content": "x" * 1000}})
    path, seen = made.write(tmp_path, ONE), []

    def noting(line: bytes) -> dict[str, Any] | None:
        seen.append(line)
        return parse(line)

    monkeypatch.setattr(claude_rows, "parse", noting)
    files = ClaudeFiles(tmp_path, wall_clock_ms)
    assert texts(told(files, path)) == ["plan a trip", "Where to?"]
    assert not any(b"api-request-blob" in line for line in seen)


def test_look_gives_what_others_added_once_and_not_our_own(tmp_path: Path) -> None:
    made = small()
    path = made.write(tmp_path, ONE)
    files = ClaudeFiles(tmp_path, wall_clock_ms)
    first = look_at_claude(files, tmp_path, [ONE], None, is_open=False)
    assert texts(list(first.events)) == ["plan a trip", "Where to?"]
    again = look_at_claude(files, tmp_path, [ONE], first.mark, is_open=False)
    assert (again.events, again.mark) == ((), first.mark)
    ours = Transcript("builderos", count=20, leaf=made.leaf)
    ours.user("from the phone")
    ours.says("Hello phone.")
    desk = Transcript(count=30, leaf=ours.leaf)
    desk.user("from the desk")
    # A row that is being written.
    path.write_bytes(path.read_bytes() + ours.data() + desk.data() + b'{"type":"assis')
    third = look_at_claude(files, tmp_path, [ONE], first.mark, is_open=False)
    assert texts(list(third.events)) == ["from the desk"]
    assert isinstance(third.events[-1], Ended)  # no program has it open, and none will continue that turn
    assert not third.rewound
    assert third.mark is not None
    assert third.mark.offset == path.stat().st_size - len(b'{"type":"assis')


def test_history_knows_the_newest_mode_and_model(tmp_path: Path) -> None:
    made = small()
    made.user("hello", permissionMode="default")
    made.other({"type": "permission-mode", "permissionMode": "plan", "sessionId": ONE})
    made.says("Hi.", requestedModel="one")
    made.says("So.", requestedModel="two")
    path = made.write(tmp_path, ONE)
    files, end = ClaudeFiles(tmp_path, wall_clock_ms), path.stat().st_size
    branch = files.branch(str(path), end, messages=10, size=1 << 20)
    assert (branch.mode, branch.model) == ("plan", "two")
    branch = files.branch(str(path), end, messages=10, wanted={uid(1)})
    assert (branch.mode, branch.model) == ("", "")
    made.entrypoint = "builderos"
    made.says("Ours.", requestedModel="three")
    path = made.write(tmp_path, ONE)
    assert files.branch(str(path), path.stat().st_size, messages=10, size=1 << 20).model == ""


def test_a_large_branch_takes_no_memory_for_its_rows(tmp_path: Path) -> None:
    """Rows beside it are not kept either, since nobody wants their words."""
    made = small()
    for number in range(20_000):
        made.user([{"type": "tool_result", "tool_use_id": f"t{number}", "content": "x"}])
        if number % 10 == 0:
            leaf = made.leaf
            made.user([{"type": "tool_result", "tool_use_id": "t", "content": "y" * 5_000}], parent=uid(1))
            made.leaf = leaf
    path = made.write(tmp_path, ONE)
    files, end = ClaudeFiles(tmp_path, wall_clock_ms), path.stat().st_size
    made.other({"type": "last-prompt", "leafUuid": made.leaf})
    tracemalloc.start()
    try:
        assert files.branch(str(path), end, messages=10, wanted={uid(2), uid(10**9)}).ids == {uid(2)}
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_rows_beside_the_branch_are_kept_up_to_a_size(tmp_path: Path) -> None:
    made = small()
    kept = made.leaf
    for number in range(60):
        result = [{"type": "tool_result", "tool_use_id": f"t{number}", "content": "x" * 200_000}]
        made.user(result, parent=uid(1))
    made.other({"type": "last-prompt", "leafUuid": kept})
    path = made.write(tmp_path, ONE)
    files, end = ClaudeFiles(tmp_path, wall_clock_ms), path.stat().st_size
    assert end > 12_000_000
    tracemalloc.start()
    try:
        assert files.branch(str(path), end, messages=10, size=1 << 20).leaf == kept
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_look_sees_a_rewind(tmp_path: Path) -> None:
    made = small()
    kept = made.leaf
    made.user("wrong way")
    made.says("Lost.")
    path = made.write(tmp_path, ONE)
    files = ClaudeFiles(tmp_path, wall_clock_ms)
    first = look_at_claude(files, tmp_path, [ONE], None, is_open=False)
    after = Transcript(count=20)
    after.user("right way", parent=kept)
    path.write_bytes(path.read_bytes() + after.data())
    second = look_at_claude(files, tmp_path, [ONE], first.mark, is_open=False)
    assert (first.rewound, second.rewound) == (False, True)


def test_any_bytes_and_any_rows_give_events_and_nothing_else(tmp_path: Path) -> None:
    rng = random.Random(16)
    data = small().data()
    odd = [None, 5, "x", [], {}, [None], {"content": 7}, {"content": [{"type": 5}]}, "\ud800", True]
    for _ in range(300):
        rows = [json.loads(line) for line in data.splitlines()]
        row = rng.choice(rows)
        row[rng.choice([*row, "message", "uuid", "timestamp", "parentUuid"])] = rng.choice(odd)
        lines = [json.dumps(one).encode() for one in rows]
        cut = bytearray(b"\n".join(lines) + b"\n")
        for _ in range(rng.randrange(4)):
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        branch = read_branch(reversed(bytes(cut).split(b"\n")), messages=10, size=1 << 16)
        for event in Turns().all(branch.rows):
            assert event.at_ms >= 0


def test_lines_are_the_same_in_both_directions_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lines = [b"a" * size for size in (2, 0, 700_000, 3, 9_000_000, 5, 1_100_000)]
    path.write_bytes(b"\n".join(lines) + b"\nunfinished")
    kept = [line for line in lines if len(line) < 9_000_000]
    with open_record(str(path)) as file:
        assert [line for _, line in forwards(file, 0, 1 << 30)] == kept
        assert list(backwards(file, path.stat().st_size)) == kept[::-1]
        places = [place for place, _ in forwards(file, 0, 1 << 30)]
        assert places[-1] == whole_size(str(path)) == path.stat().st_size - len(b"unfinished")
