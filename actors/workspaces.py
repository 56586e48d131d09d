"""Undoing in the real workspace (`actors.ports.Undoes`): what blocks runs on a thread, which also loads what it needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import attrs
import trio

from actors.ports import Carried, UndoFailed, UndoPlan
from bridgehub.workspace.git import GitFailed, GitMissing
from bridgehub.workspace.paths import refusal_of_workspace
from bridgehub.workspace.store import CheckpointStore, NoCheckpoint, StoreBusy

__all__ = ["WorkspaceUndo"]

UNDOS_AT_ONCE = 2


@attrs.frozen
class WorkspaceUndo:
    """`folder`: where the checkpoints of all workspaces are kept; `home`: the person's own folder."""

    folder: Path
    home: str
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(UNDOS_AT_ONCE))

    async def plan(self, session_id: str, workspace: str, undo_id: str, before: str, after: str) -> UndoPlan:
        """Find out what an undo would do. See `actors.ports.Undoes`."""
        call = partial(self._plan, session_id, workspace, undo_id, before, after)
        return await trio.to_thread.run_sync(call, limiter=self._limiter)

    async def plan_again(self, session_id: str, workspace: str, undo_id: str, of_undo: str) -> UndoPlan:
        """Find out what the undo of an undo would do. See `actors.ports.Undoes`."""
        call = partial(self._plan_again, session_id, workspace, undo_id, of_undo)
        return await trio.to_thread.run_sync(call, limiter=self._limiter)

    async def carry_out(self, session_id: str, workspace: str, undo_id: str) -> Carried:
        """Do what was planned. See `actors.ports.Undoes`."""
        call = partial(self._carry_out, session_id, workspace, undo_id)
        return await trio.to_thread.run_sync(call, limiter=self._limiter)

    def _store(self, workspace: str) -> CheckpointStore:
        reason = refusal_of_workspace(workspace, self.home, str(self.folder.parent))
        if reason:
            raise UndoFailed("no_checkpoint", f"This folder is not saved: {reason}.")
        return CheckpointStore.of(str(self.folder), workspace)

    def _plan_again(self, session_id: str, workspace: str, undo_id: str, of_undo: str) -> UndoPlan:
        try:
            now = self._store(workspace).find(session_id, of_undo).note.get("now")
        except (NoCheckpoint, GitMissing) as exc:
            raise UndoFailed("no_checkpoint", "What this undo did is not known any more.") from exc
        if not isinstance(now, str):
            raise UndoFailed("no_checkpoint", "There is no such undo.")
        return self._plan(session_id, workspace, undo_id, now, of_undo)

    def _plan(self, session_id: str, workspace: str, undo_id: str, before: str, after: str) -> UndoPlan:
        from bridgehub.workspace.take import TooMuch
        from bridgehub.workspace.undo import NothingToUndo, plan_undo

        try:
            plan = plan_undo(self._store(workspace), session_id, undo_id, before, after)
        except NothingToUndo as exc:
            told = "everything was changed since" if exc.conflicts else "nothing was changed"
            raise UndoFailed("nothing_to_undo", f"There is nothing to undo: {told}.", exc.conflicts) from exc
        except NoCheckpoint as exc:
            raise UndoFailed("no_checkpoint", "The state of the files then is not kept any more.") from exc
        except StoreBusy as exc:
            raise UndoFailed("busy", "The folder is being saved; try again in a moment.") from exc
        except (TooMuch, GitFailed, GitMissing, OSError) as exc:
            raise UndoFailed("no_checkpoint", f"The folder cannot be saved before the undo: {exc}.") from exc
        return UndoPlan(plan.checkpoint_id)

    def _carry_out(self, session_id: str, workspace: str, undo_id: str) -> Carried:
        from bridgehub.workspace.undo import carry_out

        try:
            done = carry_out(self._store(workspace), session_id, undo_id)
        except (NoCheckpoint, GitFailed, GitMissing, OSError) as exc:
            raise UndoFailed("no_checkpoint", str(exc) or type(exc).__name__) from exc
        return Carried(done.files, done.conflicts)
