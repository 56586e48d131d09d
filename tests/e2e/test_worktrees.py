"""Section 9, Worktrees: two sessions side by side in one repository."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from tests.e2e.test_work import At, git, working
from tests.support.device import Device, Json


def prepare(at: At) -> None:
    git(at.workspace, "init", "-q", "-b", "trunk")
    (at.workspace / "sub").mkdir()
    (at.workspace / "sub/a.txt").write_text("a\n")
    git(at.workspace, "add", "-A")
    git(at.workspace, "commit", "-qm", "x")


async def ask_for(device: Device, session_id: str, **settings: object) -> Json:
    await device.say("attach", session_id=session_id, agent="echo", settings=settings)
    return await device.wait_for(
        lambda frame: frame["type"] in {"attached", "rejected"} and frame["session_id"] == session_id
    )


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_worktree_is_made_told_and_removed_with_its_session(place: Path) -> None:
    async with working(place) as at:
        prepare(at)
        made = await ask_for(at.device, "own", worktree=True, workspace=str(at.workspace / "sub"))
        folder = Path(made["settings"]["workspace"])
        top = folder.parent
        assert made["worktree"] == {
            "branch": "builderos/own",
            "base": "trunk",
            "path": str(top),
            "ahead": 0,
            "dirty": False,
        }
        assert (folder / "a.txt").read_text() == "a\n"
        assert top.is_relative_to(at.server.data / "worktrees")
        (folder / "b.txt").write_text("b\n")
        dirty = await ask_for(at.device, "own")
        refused = await at.http.delete("/api/sessions/own")
        git(top, "add", "-A")
        git(top, "commit", "-qm", "y")
        unmerged = await at.http.delete("/api/sessions/own")
        git(at.workspace, "merge", "-q", "builderos/own")
        gone = await at.http.delete("/api/sessions/own")
    assert dirty["worktree"]["dirty"] is True
    assert code(refused) == code(unmerged) == (409, "worktree_dirty")
    assert gone.status_code == 200
    assert not top.exists()
    assert git(at.workspace, "branch", "--list", "builderos/*") == b""
    assert b"own" not in git(at.workspace, "worktree", "list")


async def test_force_removes_it_unless_another_session_works_there(place: Path) -> None:
    async with working(place) as at:
        prepare(at)
        made = await ask_for(at.device, "own", worktree="side.by-side")
        folder = Path(made["settings"]["workspace"])
        (folder / "b.txt").write_text("b\n")
        shares = await ask_for(at.device, "second", workspace=str(folder))
        assert shares["type"] == "rejected", "the data folder is outside of workspace_roots"
        forced = await at.http.delete("/api/sessions/own", params={"force": "true"})
        wrong = await at.http.delete("/api/sessions/s", params={"force": "perhaps"})
    assert made["worktree"]["branch"] == "builderos/side.by-side"
    assert forced.status_code == 200
    assert not await trio.Path(folder).exists()
    assert wrong.status_code == 400


async def test_a_worktree_that_a_fork_shares_stays(place: Path) -> None:
    async with working(place) as at:
        prepare(at)
        made = await ask_for(at.device, "own", worktree=True)
        folder = Path(made["settings"]["workspace"])
        (folder / "b.txt").write_text("b\n")
        forked = await at.http.post("/api/sessions/own/fork", json={"after_turn": None, "session_id": "fork"})
        forced = await at.http.delete("/api/sessions/own", params={"force": "true"})
        gone = await at.http.delete("/api/sessions/own")
        assert (folder / "b.txt").read_text() == "b\n"
        shown = await ask_for(at.device, "fork")
        dirty = await at.http.delete("/api/sessions/fork")
        last = await at.http.delete("/api/sessions/fork", params={"force": "true"})
    assert forked.status_code == 201
    assert code(forced) == (409, "worktree_in_use")
    assert gone.status_code == 200
    assert shown["worktree"]["branch"] == "builderos/own"
    assert code(dirty) == (409, "worktree_dirty")
    assert last.status_code == 200
    assert not await trio.Path(folder).exists()


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a..b", "a/b", "x" * 65, "ümlaut"])
async def test_wrong_names_are_refused(place: Path, name: str) -> None:
    async with working(place) as at:
        prepare(at)
        answer = await ask_for(at.device, "own", worktree=name)
    assert (answer["type"], answer["code"]) == ("rejected", "bad_worktree")


async def test_git_has_the_word_where_it_refuses(place: Path) -> None:
    async with working(place) as at:
        answer = await ask_for(at.device, "own", worktree=True)
        prepare(at)
        git(at.workspace, "branch", "builderos/taken")
        taken = await ask_for(at.device, "other", worktree="taken")
        made = await ask_for(at.device, "third", worktree="fine")
        again = await ask_for(at.device, "fourth", worktree="fine")
        plain = await ask_for(at.device, "plain", worktree=False)
    assert answer["code"] == "bad_worktree"
    assert "not a git repository" in answer["content"]
    assert "already exists" in taken["content"]
    assert made["type"] == "attached"
    assert again["code"] == "bad_worktree"
    assert plain["worktree"] is None


async def test_two_sessions_work_side_by_side(place: Path) -> None:
    async with working(place) as at:
        prepare(at)
        made = await ask_for(at.device, "own", worktree=True)
        other = At(at.server, at.device, at.http, Path(made["settings"]["workspace"]))
        mine = await at.turn({"mine.txt": "m\n"})
        theirs = await other.turn({"theirs.txt": "t\n"}, session_id="own")
        told = [
            (await at.http.get(f"/api/sessions/{name}/changes", params={"turn": one["of_turn"]})).json()
            for name, one in (("s", mine), ("own", theirs))
        ]
    assert [[file["path"] for file in one["files"]] for one in told] == [["mine.txt"], ["theirs.txt"]]
