"""Carries out an `attach`, step by step, up to an attachment that is ready to start."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import attrs
import trio

from actors.codec import encode_settings
from actors.commands import Attach, Author, Envelope, Rejected, Reply, SessionView, Settings
from actors.offer import NO_OFFER, decode_offer, refusal_of
from actors.tail import AttachedDevice, EventBatch
from bridgehub.workspace.paths import PathRefused
from bridgehub.workspace.worktrees import BadWorktree, find_worktree, make_worktree, name_for
from storage.errors import SessionExists
from storage.records import NewSession
from transport.auth import CREATE_SESSION, authorize
from transport.config import TransportConfig
from transport.ports import Deps, Device
from transport.v3 import replies
from transport.v3.attachment import Attachment, FollowsAttachments, starting_point
from transport.v3.client_frames import AttachFrame, SettingsAsked
from transport.v3.rendered import RenderedFeed, Renderings
from transport.workspace.listing import Roots

__all__ = ["AttachRefused", "Attaching", "too_many_sessions"]


class AttachRefused(Exception):
    """An `attach` that is refused. The answer is `rejected`; if that is None, an `error`."""

    def __init__(self, code: str, content: str, rejected: Rejected | None = None) -> None:
        super().__init__(content)
        self.code = code
        self.rejected = rejected


def _forbidden(content: str) -> AttachRefused:
    return AttachRefused("forbidden", content, Rejected("forbidden", content))


def too_many_sessions(most: int) -> str:
    """Return the text of the refusal of one session too many."""
    return f"There are {most} sessions already. Delete some first."


@attrs.frozen
class Attaching:
    """One `attach` of one connection.

    Attributes:
        earlier: the attachment that it replaces; closed once nothing can fail any more.
        renderings: turns finished answers into HTML; None if that is disabled.
    """

    config: TransportConfig
    deps: Deps
    device: Device
    connection: FollowsAttachments
    frame: AttachFrame
    earlier: Attachment | None
    renderings: Renderings | None = None

    async def run(self) -> tuple[Attachment, list[bytes], EventBatch]:
        """Return the attachment, the texts of `attached` and the frames that go with it, and the first batch of events.

        The attachment listens but is not started. If this is cancelled or fails, nothing listens.

        Raises:
            AttachRefused: the device must get its answer.
            ActorError, StorageError: as in the ports.
        """
        frame = self.frame
        label = frame.device_id or self.device.id
        if label != self.device.id and not await self.deps.devices.claim_label(label, self.device.id):
            raise _forbidden("This device_id belongs to another key or to the system; use another one.")
        await self._find_or_make(label)
        view = await self._view(Author(self.device.id, label, self.device.name))
        worktree = await self._look_at_worktree(view.settings.workspace)
        # A key that may only look attaches observing, whatever it asks for.
        observe = frame.observe or not authorize(self.device.scope, "decide")
        attachment = Attachment(
            frame.session_id,
            AttachedDevice(label, self.device.name, observe),
            self.connection,
            self.deps.clock,
            self.deps.on_taken,
            rendered=self._rendered(),
        )
        try:
            texts, first = await self._open(attachment, view, worktree)
        except BaseException:
            if self.earlier is not None:
                self.earlier.replaced = False
            attachment.close()
            raise
        return attachment, texts, first

    async def _open(
        self, attachment: Attachment, view: SessionView, worktree: dict[str, object] | None
    ) -> tuple[list[bytes], EventBatch]:
        frame, journal = self.frame, self.deps.journal
        if self.earlier is not None:
            self.earlier.replaced = True  # so that other devices do not see one connection twice
        attachment.listen(self.deps.live.listen(frame.session_id, attachment))
        position, replay = await starting_point(journal, frame.session_id, view, frame.after, frame.history)
        first = await attachment.open(journal, view, position, frame.pace_ms / 1000)
        if attachment.rendered is not None:
            # A snapshot's past is a page of `/messages`; events that a device missed are new to it.
            attachment.rendered.since = position if replay == "ok" else view.head_seq
            attachment.rendered.note(first.items)
        if self.earlier is not None:
            # From here to `start` without a checkpoint: the writer sees one attachment or the other.
            self.earlier.close()
        from_seq = first.items[0].first_seq if first.items else view.head_seq + 1
        answer = replies.Attached(frame.session_id, view, from_seq, replay, attachment.devices, worktree)
        now_ms = self.deps.clock()
        texts = [replies.attached(answer, now_ms), replies.agent(frame.session_id, view.offer, now_ms)]
        if view.gauge:
            texts.append(replies.gauge(frame.session_id, view.gauge, now_ms))
        return texts, first

    def _rendered(self) -> RenderedFeed | None:
        if self.renderings is None or not self.frame.html:
            return None
        return RenderedFeed(self.frame.session_id, self.connection.writer, self.renderings)

    async def _find_or_make(self, label: str) -> None:
        frame, catalog = self.frame, self.deps.catalog
        if await catalog.get(frame.session_id) is not None:
            return
        if frame.agent is None:
            raise AttachRefused("unknown_session", "There is no such session.")
        if frame.agent not in self.config.agents:
            raise AttachRefused("unknown_agent", "There is no such agent in the config.")
        if not authorize(self.device.scope, CREATE_SESSION):
            raise _forbidden("This key may not create sessions.")
        if await catalog.count() >= self.config.max_sessions:
            raise _forbidden(too_many_sessions(self.config.max_sessions))
        settings = await self._settings(frame.settings or SettingsAsked())
        await self._check(frame.agent, settings)
        settings = await self._with_worktree(settings, frame.settings or SettingsAsked())
        new = NewSession(
            frame.session_id,
            frame.agent,
            label,
            encode_settings(settings),
            self.deps.clock(),
            settings.workspace,
        )
        try:
            await catalog.create(new)
        except SessionExists:
            # Two devices created it at the same time: both attach to the one that exists.
            return

    async def _with_worktree(self, settings: Settings, asked: SettingsAsked) -> Settings:
        """Make the worktree that is asked for, and have the session work there. Raises AttachRefused."""
        if not asked.worktree:
            return settings
        name = asked.worktree if isinstance(asked.worktree, str) else name_for(self.frame.session_id)
        try:
            if self.config.worktrees is None:
                raise BadWorktree("There are no worktrees here.")
            make = partial(make_worktree, self.config.worktrees, name, settings.workspace)
            # Not cancelled in its middle: what git has begun is then whole, and found by its name.
            return attrs.evolve(settings, workspace=await trio.to_thread.run_sync(make))
        except BadWorktree as refused:
            raise AttachRefused(
                "bad_worktree", str(refused), Rejected("bad_worktree", str(refused))
            ) from None

    async def _look_at_worktree(self, workspace: str) -> dict[str, object] | None:
        """Return what `attached` shows of the session's worktree; None if it has none of ours."""
        root = self.config.worktrees
        if root is None or not workspace.startswith(str(root)):
            return None

        def look() -> dict[str, object] | None:
            found = find_worktree(root, workspace)
            if found is None:
                return None
            told: dict[str, object] = {"branch": found.branch, "base": found.base, "path": str(found.path)}
            try:
                state = found.look()
            except BadWorktree:  # it was removed by hand, say
                return {**told, "ahead": None, "dirty": None}
            return {**told, "ahead": state.ahead, "dirty": state.dirty}

        return await trio.to_thread.run_sync(look)

    async def _settings(self, asked: SettingsAsked) -> Settings:
        workspace = self.config.workspace
        if asked.workspace is not None:
            folder = Path(workspace, asked.workspace)
            await trio.to_thread.run_sync(self._check_workspace, folder)
            workspace = str(folder)
        return Settings(workspace, asked.model, asked.permission_mode, asked.effort)

    async def _check(self, agent: str, settings: Settings) -> None:
        """Refuse settings that the agent does not offer, as far as its offer is known. Raises AttachRefused."""
        offer = await self.deps.catalog.offer_of(agent)
        asked = {
            "model": settings.model,
            "permission_mode": settings.permission_mode,
            "effort": settings.effort,
        }
        refusal = refusal_of(
            NO_OFFER if offer is None else decode_offer(offer),
            asked,
            None,
            allows_bypass=agent in self.config.bypass_agents,
        )
        if refusal is not None:
            raise AttachRefused(*refusal, Rejected(*refusal))

    def _check_workspace(self, folder: Path) -> None:
        """Refuse a folder that is not there, or that sessions may not work in."""
        if self.config.workspace_roots is None:
            return
        try:
            Roots(self.config.workspace_roots).check(folder)
        except PathRefused as refused:
            content = f"The workspace cannot be used: {refused}"
            raise AttachRefused("bad_workspace", content, Rejected("bad_workspace", content)) from None

    async def _view(self, author: Author) -> SessionView:
        """Ask the session's owner for the session's state."""
        answered = trio.Event()
        replies: list[Reply] = []

        def reply(answer: Reply) -> None:
            replies.append(answer)
            answered.set()

        with trio.move_on_after(self.config.attach_s):
            await self.deps.bus.submit(self.frame.session_id, Envelope(Attach(), author, reply))
            await answered.wait()
        for answer in replies:
            if isinstance(answer, SessionView):
                return answer
            if isinstance(answer, Rejected):
                raise AttachRefused(answer.code, answer.content, answer)
        raise AttachRefused("storage", "The session does not answer at the moment; try again.")
