"""The list of delegated tasks: one entry a task, from the journal's rows of its start and its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from actors.events.codec import decode_row
from actors.events.committed import Committed
from actors.events.work import TaskFinished, TaskStarted
from actors.ports import Catalog, Journal
from transport.http.responses import HttpError, JsonAnswer, limit_of, number_of
from transport.ports import Device
from transport.v3.decode import is_id
from transport.v3.events import timestamp

__all__ = ["list_tasks"]

TASKS_LIMIT: Final = 200
END_ROWS: Final = 500
"""Rows of ends that are read at once."""

_Key = tuple[str | None, str]
"""A turn and a task's id in it: an agent may reuse a task's id in the next turn."""


async def list_tasks(catalog: Catalog, journal: Journal, request: Request, _: Device) -> Response:
    """Return the newest tasks, or the newest before a place, in the order in which they began."""
    session_id = request.path_params["id"]
    if not is_id(session_id) or await catalog.get(session_id) is None:
        raise HttpError(404, "not_found", "There is no such session.")
    limit, before = limit_of(request, TASKS_LIMIT), number_of(request, "before")
    found = await _starts(journal, session_id, before, limit + 1)
    page = found[-limit:]
    ends = await _ends(journal, session_id, page)
    body = {
        "tasks": [_entry(item, ends.get(_key(item))) for item in page],
        "next_before": str(page[0].seq) if len(found) > limit else None,
    }
    return JsonAnswer(body)


async def _starts(journal: Journal, session_id: str, before: int | None, count: int) -> list[Committed]:
    found: list[Committed] = []
    while len(found) < count:
        rows = await journal.read(
            session_id, 0, count - len(found), before=before, kinds={TaskStarted.kind}, newest=True
        )
        if not rows:
            break
        found[:0] = [decode_row(row) for row in rows]
        before = rows[0].seq
    return found


async def _ends(journal: Journal, session_id: str, starts: Sequence[Committed]) -> dict[_Key, Committed]:
    """Return the ends of these tasks. A turn's end ends its tasks, so the search is only as long as the tasks
    are."""
    missing = {_key(item) for item in starts}
    after = starts[0].seq if starts else 0
    found: dict[_Key, Committed] = {}
    while missing:
        rows = await journal.read(session_id, after, END_ROWS, kinds={TaskFinished.kind})
        if not rows:
            break
        for item in map(decode_row, rows):
            if (key := _key(item)) in missing:
                missing.discard(key)
                found[key] = item
        after = rows[-1].seq
    return found


def _key(item: Committed) -> _Key:
    assert isinstance(item.event, TaskStarted | TaskFinished)
    return item.turn_id, item.event.task_id


def _entry(start: Committed, end: Committed | None) -> dict[str, Any]:
    task = start.event
    assert isinstance(task, TaskStarted)
    last = task if end is None else end.event
    return {
        "task_id": task.task_id,
        "parent_task_id": task.parent_task_id,
        "turn_id": start.turn_id,
        "agent_type": task.agent_type,
        "title": task.title,
        "state": last.state if isinstance(last, TaskStarted | TaskFinished) else task.state,
        "result": last.result if isinstance(last, TaskFinished) else None,
        "started_at": timestamp(start.at_ms),
        "finished_at": None if end is None else timestamp(end.at_ms),
    }
