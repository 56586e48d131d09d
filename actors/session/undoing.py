"""Plans undos and carries them out, beside the session's actor, and puts what came of it into its mailbox."""

from __future__ import annotations

import os

import attrs
import orjson
import trio

from actors.events.codec import decode_settings
from actors.events.history import checkpoints_around
from actors.ports import Catalog, Journal, Undoes, UndoFailed
from actors.replies import Rejected
from actors.session.effects import CarryOutUndo, PlanUndo
from actors.session.inputs import UndoCarried, UndoPlanned
from actors.session.mailbox import Mailbox
from storage.errors import StorageError
from storage.records import SessionRecord

__all__ = ["UndoRunner", "works_in"]

AFTER_WAIT_S = 5.0
"""How long an undo waits for the checkpoint after its turn, which may just be taken."""

AFTER_LOOK_S = 0.05


@attrs.define(eq=False)
class UndoRunner:
    """One session's. One undo at a time: the session sees to that."""

    undoes: Undoes | None
    journal: Journal
    catalog: Catalog
    record: SessionRecord
    mailbox: Mailbox

    def order(self, effect: PlanUndo | CarryOutUndo, nursery: trio.Nursery) -> None:
        """Have one done. Never waits. One that is cancelled in its middle is done again after a reload."""
        nursery.start_soon(self._do, effect)

    async def _do(self, wanted: PlanUndo | CarryOutUndo) -> None:
        if isinstance(wanted, PlanUndo):
            await self.mailbox.put_from_hub(await self._plan(wanted))
        else:
            await self.mailbox.put_from_hub(await self._carry_out(wanted.undo_id))

    @property
    def _workspace(self) -> str:
        return decode_settings(self.record.settings).workspace

    async def _plan(self, wanted: PlanUndo) -> UndoPlanned:
        session_id = self.record.session_id
        try:
            if self.undoes is None:
                raise UndoFailed("no_checkpoint", "Checkpoints are switched off here.")
            if not wanted.force:
                await self._refuse_busy()
            if wanted.of_undo is not None:
                plan = await self.undoes.plan_again(
                    session_id, self._workspace, wanted.undo_id, wanted.of_undo
                )
            else:
                before, after = await self._around(wanted.turn_id or "")
                plan = await self.undoes.plan(session_id, self._workspace, wanted.undo_id, before, after)
        except UndoFailed as failed:
            conflicts = failed.conflicts or None
            refusal = Rejected(failed.code, str(failed), by_session=failed.by_session, conflicts=conflicts)
            return UndoPlanned(wanted.undo_id, refusal=refusal)
        except StorageError as exc:
            return UndoPlanned(wanted.undo_id, refusal=Rejected("storage", f"nothing was undone: {exc}"))
        return UndoPlanned(wanted.undo_id, plan.checkpoint_id)

    async def _around(self, turn_id: str) -> tuple[str, str]:
        """Return the ids of a turn's checkpoints. Raises UndoFailed."""
        with trio.move_on_after(AFTER_WAIT_S):
            while True:
                around = await checkpoints_around(self.journal, self.record.session_id, turn_id)
                if around.before is None:
                    break
                if around.after is not None:
                    return around.before, around.after
                await trio.sleep(AFTER_LOOK_S)
        raise UndoFailed("no_checkpoint", "The files were not saved around this turn.")

    async def _refuse_busy(self) -> None:
        """Refuse while another session works in the same folder. Raises UndoFailed."""
        for session_id in await self.catalog.unfinished():
            record = await self.catalog.get(session_id)
            if (
                session_id != self.record.session_id
                and record is not None
                and works_in(record, self._workspace)
            ):
                raise UndoFailed("busy", "Another session works in this folder.", by_session=session_id)

    async def _carry_out(self, undo_id: str) -> UndoCarried:
        try:
            if self.undoes is None:
                raise UndoFailed("no_checkpoint", "checkpoints are switched off")
            done = await self.undoes.carry_out(self.record.session_id, self._workspace, undo_id)
        except UndoFailed as failed:
            return UndoCarried(undo_id, failure=str(failed))
        return UndoCarried(undo_id, done.files, done.conflicts)


def works_in(record: SessionRecord, folder: str) -> bool:
    """Return whether a session's turn, or a task of it in the background, may write below `folder`."""
    summary = record.summary
    if summary is None:
        return False
    if summary.state not in ("running", "waiting") and not orjson.loads(summary.shown or b"{}").get(
        "background"
    ):
        return False
    paths = (decode_settings(record.settings).workspace, folder)
    one, other = (os.path.normpath(path).rstrip("/") + "/" for path in paths)
    return one.startswith(other) or other.startswith(one)
