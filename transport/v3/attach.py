"""What an `attach` does, step by step, up to the attachment that is ready to be followed."""

from __future__ import annotations

from pathlib import PurePath

import attrs
import trio

from actors.codec import encode_settings
from actors.commands import Attach, Author, Envelope, Rejected, Reply, SessionView, Settings
from actors.offer import NO_OFFER, decode_offer, refusal_of
from actors.tail import AttachedDevice, EventBatch
from storage.errors import SessionExists
from storage.records import NewSession
from transport.auth import CREATE_SESSION, authorize
from transport.config import TransportConfig
from transport.ports import Deps, Device
from transport.v3 import replies
from transport.v3.attachment import Attachment, FollowsAttachments, starting_point
from transport.v3.client_frames import AttachFrame, SettingsAsked
from transport.v3.rendered import RenderedFeed, Renderings

__all__ = ["AttachRefused", "Attaching", "too_many_sessions"]


class AttachRefused(Exception):
    """An `attach` cannot be followed. The answer is `rejected`, or where that is None an `error`."""

    def __init__(self, code: str, content: str, rejected: Rejected | None = None) -> None:
        super().__init__(content)
        self.code = code
        self.rejected = rejected


def _forbidden(content: str) -> AttachRefused:
    return AttachRefused("forbidden", content, Rejected("forbidden", content))


def too_many_sessions(most: int) -> str:
    """Return what is said to whoever wants one session more."""
    return f"There are {most} sessions already; delete some first."


@attrs.frozen
class Attaching:
    """One `attach` of one connection.

    Attributes:
        earlier: the attachment that it replaces; closed once nothing can fail any more.
        renderings: where finished answers become HTML; None where they do not.
    """

    config: TransportConfig
    deps: Deps
    device: Device
    connection: FollowsAttachments
    frame: AttachFrame
    earlier: Attachment | None
    renderings: Renderings | None = None

    async def run(self) -> tuple[Attachment, list[bytes], EventBatch]:
        """Return the attachment, the texts of `attached` and of what belongs to it, and the first round of what follows it.

        The attachment listens but is not started. Cancelled or failed, nothing listens.

        Raises:
            AttachRefused: the device is to be told so.
            ActorError, StorageError: as in the ports.
        """
        frame = self.frame
        label = frame.device_id or self.device.id
        if label != self.device.id and not await self.deps.devices.claim_label(label, self.device.id):
            raise _forbidden("This device_id belongs to another key or to the system; use another one.")
        await self._find_or_make(label)
        view = await self._view(Author(self.device.id, label, self.device.name))
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
            texts, first = await self._open(attachment, view)
        except BaseException:
            if self.earlier is not None:
                self.earlier.replaced = False
            attachment.close()
            raise
        return attachment, texts, first

    async def _open(self, attachment: Attachment, view: SessionView) -> tuple[list[bytes], EventBatch]:
        frame, journal = self.frame, self.deps.journal
        if self.earlier is not None:
            self.earlier.replaced = True  # so that nobody sees one connection attached twice
        attachment.listen(self.deps.live.listen(frame.session_id, attachment))
        position, replay = await starting_point(journal, frame.session_id, view, frame.after, frame.history)
        first = await attachment.open(journal, view, position, frame.pace_ms / 1000)
        if attachment.rendered is not None:
            # A snapshot's past is a page of `/messages`; what a device missed is news to it.
            attachment.rendered.since = position if replay == "ok" else view.head_seq
            attachment.rendered.note(first.items)
        if self.earlier is not None:
            # From here to `start` without a pause: the writer sees one attachment or the other.
            self.earlier.close()
        from_seq = first.items[0].first_seq if first.items else view.head_seq + 1
        told = replies.Attached(frame.session_id, view, from_seq, replay, attachment.devices)
        now_ms = self.deps.clock()
        texts = [replies.attached(told, now_ms), replies.agent(frame.session_id, view.offer, now_ms)]
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
            raise _forbidden("This key may not make sessions.")
        if await catalog.count() >= self.config.max_sessions:
            raise _forbidden(too_many_sessions(self.config.max_sessions))
        settings = self._settings(frame.settings or SettingsAsked())
        await self._check(frame.agent, settings)
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
            # Two devices made it at the same time: both attach to the one that is there.
            return

    def _settings(self, asked: SettingsAsked) -> Settings:
        workspace = self.config.workspace
        if asked.workspace is not None:
            workspace = str(PurePath(workspace, asked.workspace))
        return Settings(workspace, asked.model, asked.permission_mode, asked.effort)

    async def _check(self, agent: str, settings: Settings) -> None:
        """Refuse settings that the agent does not have, as far as it told what it has. Raises AttachRefused."""
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

    async def _view(self, author: Author) -> SessionView:
        """Ask the session's owner how the session stands."""
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
