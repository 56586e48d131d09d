"""Carries out an `attach`, step by step, up to an attachment that is ready to start."""

from __future__ import annotations

import logging
from typing import Final

import attrs
import trio

from actors.commands import Attach, Author
from actors.errors import ActorError
from actors.offer import BYPASS_CHOSEN
from actors.replies import Rejected, SessionView
from actors.tail import AttachedDevice, EventBatch
from storage.data_folder import WORKTREES
from storage.errors import StorageError
from storage.tables.hash_chain import Act
from transport.access.auth import authorize
from transport.config import TransportConfig
from transport.ports import Deps, Device, Nodes
from transport.sessions import NO_ANSWER, SessionRefused, ask
from transport.v3 import replies
from transport.v3.attachment import AttachedConnection, DeviceAttachment, starting_point
from transport.v3.client_frames import AttachFrame, SettingsAsked
from transport.v3.creating import REJECTED, Creating, NewAsked, look_at_worktree
from transport.v3.rendered import RenderedFeed, Renderings

__all__ = ["AttachRefused", "Attaching"]

WORKTREE_S: Final = 2.0
"""How long another machine may take to look at a worktree: an attach waits for it."""

log = logging.getLogger("builderos.transport")


class AttachRefused(SessionRefused):
    """An `attach` that is refused with `rejected`. Any other `SessionRefused` is answered with an `error`."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(rejected.code, rejected.content)
        self.rejected = rejected


@attrs.frozen
class Attaching:
    """One `attach` of one connection.

    Attributes:
        earlier: the attachment that it replaces; closed once nothing can fail any more.
        renderings: turns finished answers into HTML.
    """

    config: TransportConfig
    deps: Deps
    device: Device
    connection: AttachedConnection
    frame: AttachFrame
    earlier: DeviceAttachment | None
    renderings: Renderings

    async def run(self) -> tuple[DeviceAttachment, list[bytes], EventBatch]:
        """Return the attachment, the texts of `attached` and the frames that go with it, and the first batch of events.

        The attachment listens but is not started. If this is cancelled or fails, nothing listens.

        Raises:
            SessionRefused: the device must get its answer.
            ActorError, StorageError: as in the ports.
        """
        frame = self.frame
        label = frame.device_id or self.device.id
        if label != self.device.id and not await self.deps.devices.claim_label(label, self.device.id):
            taken = "This device_id belongs to another key or to the system; use another one."
            raise AttachRefused(Rejected("forbidden", taken))
        made = await self._find_or_create(label)
        view = await self._view(Author(self.device.id, label, self.device.name))
        if made:
            self._note_bypass(view)
        worktree = await self._look_at_worktree(view.settings.workspace)
        # A key that may only look attaches observing, whatever it asks for.
        observe = frame.observe or not authorize(self.device.scope, "decide")
        attachment = DeviceAttachment(
            session_id=frame.session_id,
            own=AttachedDevice(label, self.device.name, observe),
            record=self.deps.delays.of(self.device.id, self.device.name, label),
            writer=self.connection.writer,
            connection=self.connection,
            clock=self.deps.clock,
            on_taken=self.deps.on_taken,
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
        self, attachment: DeviceAttachment, view: SessionView, worktree: dict[str, object] | None
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
        nodes, session_id = self.deps.nodes, frame.session_id
        machine = None if nodes is None else nodes.machine_of(session_id)
        devices = attachment.tail.devices
        answer = replies.Attached(session_id, view, from_seq, replay, devices, worktree, machine)
        now_ms = self.deps.clock()
        texts = [replies.attached(answer, now_ms), replies.agent(session_id, view.offer, now_ms)]
        if view.gauge:
            texts.append(replies.gauge(session_id, view.gauge, now_ms))
        if view.printed is not None:
            texts.append(replies.tool_output(session_id, view.printed, now_ms))
        return texts, first

    def _rendered(self) -> RenderedFeed | None:
        if not self.frame.html:
            return None
        return RenderedFeed(self.frame.session_id, self.connection.writer, self.renderings)

    def _note_bypass(self, view: SessionView) -> None:
        """Note in the audit that a session was made with a mode in which its agent asks nobody."""
        mode = view.settings.permission_mode
        if mode is not None and view.offer.kind_of(mode) == "bypass":
            by, session_id = self.device.id, self.frame.session_id
            self.deps.trail.note(
                Act(
                    at_ms=self.deps.clock(),
                    act=BYPASS_CHOSEN,
                    device_id=by,
                    session_id=session_id,
                    subject=mode,
                )
            )

    async def _find_or_create(self, label: str) -> bool:
        frame = self.frame
        asked = NewAsked(frame.session_id, frame.agent, label, frame.settings or SettingsAsked())
        try:
            return await Creating(self.config, self.deps).find_or_create(self.device, asked)
        except SessionRefused as refused:
            if refused.code in REJECTED:
                raise AttachRefused(Rejected(REJECTED[refused.code], str(refused))) from None
            raise

    async def _look_at_worktree(self, workspace: str) -> dict[str, object] | None:
        """Return what `attached` shows of the session's worktree; None if it has none of ours."""
        nodes = self.deps.nodes
        machine = None if nodes is None else nodes.machine_of(self.frame.session_id)
        if nodes is None or machine is None or machine["state"] == "here":
            return await look_at_worktree(self.config.worktrees, workspace)
        if machine["state"] == "there" and f"/{WORKTREES}/" in workspace:
            return await self._ask_for_worktree(nodes, machine["id"])
        return None

    async def _ask_for_worktree(self, nodes: Nodes, home: str) -> dict[str, object] | None:
        fields = {"device": self.device.id, "session_id": self.frame.session_id}
        found: object = None
        with trio.move_on_after(WORKTREE_S) as late:  # noqa: ASYNC912 - a call that is refused at once
            try:
                found = (await nodes.ask(home, "worktree", fields)).get("worktree")
            except (ActorError, StorageError) as error:
                log.info("session %s: its worktree is not shown: %s", self.frame.session_id, error)
        if late.cancelled_caught:
            log.info("session %s: its worktree is not shown: node %s is late", self.frame.session_id, home)
        return found if isinstance(found, dict) else None

    async def _view(self, author: Author) -> SessionView:
        """Ask the session's owner for the session's state."""
        limit_s = self.config.attach_s
        answer = await ask(self.deps.bus, self.frame.session_id, Attach(), author, limit_s=limit_s)
        if isinstance(answer, SessionView):
            return answer
        if isinstance(answer, Rejected):
            raise AttachRefused(answer)
        raise SessionRefused("storage", NO_ANSWER)
