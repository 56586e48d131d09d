"""The ledger of delegated work over HTTP."""

from __future__ import annotations

import httpx
import pytest

from actors.events.conversation import Complete, TurnStarted
from actors.events.work import TaskFinished, TaskProgress, TaskStarted
from tests.fakes.bus import FakeSession
from tests.transport.test_http import open_http


def one_task(session: FakeSession, task_id: str, parent: str | None = None, *, ends: bool = True) -> None:
    session.publish(TaskStarted(task_id, f"title of {task_id}", "codex", parent))
    session.publish(TaskProgress(task_id, f"title of {task_id}", "codex", "a word", parent))
    if ends:
        result = TaskFinished(task_id, f"title of {task_id}", "codex", "succeeded", "all well", parent)
        session.publish(result)


async def tasks(http: httpx.AsyncClient, query: str = "") -> tuple[list[dict[str, object]], str | None]:
    answer = await http.get(f"/api/sessions/trip/tasks{query}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["tasks"], body["next_before"]


async def test_a_task_has_one_entry() -> None:
    async with open_http() as (served, http):
        session = served.fakes.add_session("trip")
        assert await tasks(http) == ([], None)
        session.publish(TurnStarted("m1"))
        session.publish(TaskStarted("a", "outer", "claude"))
        one_task(session, "b", "a")
        (outer, inner), _ = await tasks(http)
        assert set(inner) == {
            "task_id",
            "parent_task_id",
            "turn_id",
            "agent_type",
            "title",
            "state",
            "result",
            "started_at",
            "finished_at",
        }
        assert (outer["task_id"], outer["state"], outer["result"]) == ("a", "running", None)
        assert (outer["parent_task_id"], outer["finished_at"], outer["agent_type"]) == (None, None, "claude")
        assert (inner["parent_task_id"], inner["state"], inner["result"]) == ("a", "succeeded", "all well")
        assert str(inner["started_at"]).endswith("Z")
        assert str(inner["started_at"]) <= str(inner["finished_at"])
        session.publish(TaskFinished("a", "outer", "claude", "cancelled", None), Complete(2, 0, "00"))
        (outer, _), _ = await tasks(http)
        assert (outer["state"], outer["result"]) == ("cancelled", None)
        assert outer["finished_at"] is not None


async def test_the_newest_come_first_and_older_ones_by_the_cursor() -> None:
    async with open_http() as (served, http):
        session = served.fakes.add_session("trip")
        for number in range(7):
            one_task(session, f"t{number}", ends=number != 3)
        seen: list[object] = []
        query = "?limit=3"
        for _ in range(3):
            page, cursor = await tasks(http, query)
            seen[:0] = [task["task_id"] for task in page]
            assert [task["state"] for task in page if task["task_id"] == "t3"] in ([], ["running"])
            query = f"?limit=3&before={cursor}"
        assert cursor is None
        assert seen == [f"t{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/sessions/nothing/tasks", 404),
        ("/api/sessions/trip/tasks?limit=0", 400),
        ("/api/sessions/trip/tasks?limit=501", 400),
        ("/api/sessions/trip/tasks?before=x", 400),
    ],
)
async def test_what_is_refused(path: str, status: int) -> None:
    async with open_http() as (served, http):
        served.fakes.add_session("trip")
        assert (await http.get(path)).status_code == status
        assert (await http.get(path, headers={"X-API-Key": "no"})).status_code == 401
