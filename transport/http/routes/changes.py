"""`GET /api/sessions/{id}/changes`: the changes of a turn, between two checkpoints, or since the beginning."""

from __future__ import annotations

from functools import partial
from typing import Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.events.codec import decode_row
from actors.events.history import checkpoints_around
from actors.events.session import Checkpoint
from actors.ports import Journal
from bridgehub.workspace.paths import PathRefused, check_path
from transport.http.responses import HttpError, JsonAnswer, query_of
from transport.http.routes.workspace import path_error, workspace_of
from transport.http.services import Work
from transport.ports import Deps, Device
from transport.workspace.comparing import CannotCompare, Compares, Wanted

__all__ = ["compare_error", "list_changes"]

AFTER_WAIT_S: Final = 2.0
"""How long to wait for a turn's second checkpoint."""

AFTER_LOOK_S: Final = 0.05
PAGE_ROWS: Final = 200

_NONE: Final = HttpError(404, "no_checkpoint", "The files were not saved there.")


def compare_error(failed: CannotCompare) -> HttpError:
    """Return the response if the changes cannot be computed."""
    return HttpError(429 if failed.code == "busy" else 404, failed.code, str(failed))


async def list_changes(deps: Deps, work: Work, request: Request, _: Device) -> Response:
    """Return the changed files with their patches."""
    workspace = await workspace_of(deps, request)
    session_id = request.path_params["id"]
    turn, before, after, path = query_of(request, "turn", "from", "to", "path")
    if (before is None) != (after is None) or (turn is not None and before is not None):
        raise HttpError(400, "bad_request", "Give `turn`, or `from` and `to`, or none of them.")
    try:
        check_path(path or "")
    except PathRefused as refused:
        raise path_error(refused) from None
    if work.checkpoints is None:
        raise _NONE
    compares = Compares(work.checkpoints, workspace, session_id)
    if turn is not None:
        wanted = await _around(deps.journal, work, compares, turn)
    elif before is not None:
        wanted = Wanted(before, after)
    else:
        wanted = await _since_the_beginning(deps.journal, work, compares)
    return JsonAnswer(await _compare(work, compares, attrs.evolve(wanted, path=path)))


async def _compare(work: Work, compares: Compares, wanted: Wanted) -> dict[str, object]:
    comparing, workspace = work.comparing, compares.workspace
    if workspace in comparing:
        raise HttpError(
            429, "busy", "Changes in this folder are being compared already. Try again in a moment."
        )
    comparing.add(workspace)
    try:
        call = partial(compares.changes, wanted)
        return await trio.to_thread.run_sync(call, limiter=work.threads)
    except CannotCompare as failed:
        raise compare_error(failed) from None
    finally:
        comparing.discard(workspace)


async def _none(work: Work, compares: Compares) -> HttpError:
    return compare_error(await trio.to_thread.run_sync(compares.why_none, limiter=work.threads))


async def _around(journal: Journal, work: Work, compares: Compares, turn_id: str) -> Wanted:
    """Return the checkpoints of a turn; without a second one, the turn is compared with the current files."""
    before: str | None = None
    with trio.move_on_after(AFTER_WAIT_S):
        while True:
            around = await checkpoints_around(journal, compares.session_id, turn_id)
            if around.before is None:
                break
            before = around.before
            if around.after is not None:
                return Wanted(before, around.after)
            await trio.sleep(AFTER_LOOK_S)
    if before is None:
        raise await _none(work, compares)
    return Wanted(before, None)


async def _since_the_beginning(journal: Journal, work: Work, compares: Compares) -> Wanted:
    try:
        kept = await trio.to_thread.run_sync(compares.kept, limiter=work.threads)
    except CannotCompare as failed:
        raise compare_error(failed) from None
    after = 0
    while kept and (
        rows := await journal.read(compares.session_id, after, PAGE_ROWS, kinds={Checkpoint.kind})
    ):
        for row in rows:
            event = decode_row(row).event
            if isinstance(event, Checkpoint) and event.checkpoint_id in kept:
                return Wanted(event.checkpoint_id, None)
        after = rows[-1].seq
    raise await _none(work, compares)
