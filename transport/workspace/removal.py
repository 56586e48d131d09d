"""Removes a session with its checkpoints, and with its worktree if no other session uses it."""

from __future__ import annotations

import logging
from functools import partial
from typing import Literal

import attrs
import trio

from actors.errors import ActorError
from actors.events.codec import decode_settings
from actors.ports import Catalog
from bridgehub.workspace.prune import forget_session
from bridgehub.workspace.worktrees import BadWorktree, Worktree, find_worktree
from storage.errors import SessionMissing
from transport.http.services import Removes, Work

__all__ = ["SessionRemoval", "WorktreeKept"]

PAGE = 200

log = logging.getLogger("builderos.transport")


class WorktreeKept(ActorError):
    """The session cannot be removed because of its worktree. `code`: `worktree_dirty` or `worktree_in_use`."""

    def __init__(self, code: Literal["worktree_dirty", "worktree_in_use"], content: str) -> None:
        super().__init__(content)
        self.code = code


@attrs.frozen
class SessionRemoval:
    """Removes sessions of this machine with their work. `sessions`: removes the session itself."""

    sessions: Removes
    catalog: Catalog
    work: Work

    async def remove(self, session_id: str, *, force: bool = False) -> None:
        """Remove a session permanently. With `force` also a worktree with work that exists nowhere else.

        Raises:
            WorktreeKept: nothing was removed.
            SessionMissing, SessionBusy, ShuttingDown, StorageUnavailable: as in `Removes`.
        """
        record = await self.catalog.get(session_id)
        if record is None:
            raise SessionMissing(session_id)
        worktree = await self._worktree(decode_settings(record.settings).workspace)
        if worktree is not None and await self._is_shared(session_id, worktree):
            if force:
                raise WorktreeKept("worktree_in_use", "Another session works in this session's worktree.")
            worktree = None
        elif worktree is not None and not force:
            await trio.to_thread.run_sync(self._refuse_dirty, worktree, limiter=self.work.threads)
        await self.sessions.remove(session_id)
        await trio.to_thread.run_sync(self._tidy, session_id, worktree, limiter=self.work.threads)

    async def _worktree(self, workspace: str) -> Worktree | None:
        if self.work.worktrees is None:
            return None
        find = partial(find_worktree, self.work.worktrees, workspace)
        return await trio.to_thread.run_sync(find, limiter=self.work.threads)

    async def _is_shared(self, session_id: str, worktree: Worktree) -> bool:
        before: tuple[int, str] | None = None
        root = str(worktree.path)
        while page := await self.catalog.page(PAGE, before):
            for record in page:
                workspace = decode_settings(record.settings).workspace
                if record.session_id != session_id and (
                    workspace == root or workspace.startswith(root + "/")
                ):
                    return True
            before = (page[-1].last_activity_ms, page[-1].session_id)
        return False

    def _refuse_dirty(self, worktree: Worktree) -> None:
        if not worktree.path.exists():
            return
        try:
            look = worktree.look()
        except BadWorktree as exc:
            raise WorktreeKept("worktree_dirty", f"{exc} Remove it with force=true.") from exc
        if look.dirty or look.ahead:
            what = "has changes that are not committed" if look.dirty else f"is {look.ahead} commits ahead"
            content = f"The worktree on {worktree.branch} {what}. Merge it, or remove it with force=true."
            raise WorktreeKept("worktree_dirty", content)

    def _tidy(self, session_id: str, worktree: Worktree | None) -> None:
        if worktree is not None:
            try:
                worktree.remove()
            except BadWorktree as exc:
                log.warning("session %s: %s", session_id, exc)
        if self.work.checkpoints is not None:
            forget_session(self.work.checkpoints, session_id)
