"""Handles the frames of a signed-in device on one connection.

Frames are handled one after another, so a device may send an `attach` and a `send` without waiting in between. Nothing
here writes: answers go to the writer's outbox.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import attrs
import trio

from actors.commands import Author, Command, Envelope, Send
from actors.errors import ActorError
from actors.replies import Accepted, Rejected, Reply
from storage.errors import StorageError
from transport.access.auth import OBSERVER_FRAMES, authorize
from transport.config import TransportConfig
from transport.delays import MAX_LABELS_OF_A_KEY, DeviceRecord
from transport.ports import Deps, Device
from transport.sessions import FAILURES, SessionRefused, attachments_of, failure_of
from transport.v3 import client_frames as cf
from transport.v3 import replies
from transport.v3.attach import Attaching, AttachRefused
from transport.v3.attachment import DeviceAttachment
from transport.v3.commands import aliased, answers_to, oversized, refuse, to_command, with_rights
from transport.v3.events import encode_round
from transport.v3.rendered import Renderings
from transport.v3.session_list import SessionFeed
from transport.websocket import close_codes
from transport.websocket.writer import DeviceWriter

__all__ = ["DeviceConversation"]

MAX_ATTACHED: Final = 10_000
"""Sessions that one connection may follow. Each has a place and a listener of its own, and keeps its owner in
memory."""

UNATTENDED: Final = frozenset({"mark_read", "draft", "warm"})
"""Frames that a client sends by itself: nobody need be there."""

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False)
class DeviceConversation:
    """The state of one signed-in connection. A context manager: at its end nothing is attached any more."""

    writer: DeviceWriter
    config: TransportConfig
    deps: Deps
    device: Device
    renderings: Renderings
    _attachments: dict[str, DeviceAttachment] = attrs.field(factory=dict)
    _watching: AbstractContextManager[None] | None = None
    _watches_all: bool = False
    _hearing: AbstractContextManager[None] | None = None
    _label: str = ""
    _records: list[DeviceRecord] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for attachment in self._attachments.values():
            attachment.close()
        for record in self._records:
            record.leave(self.writer)
        self._attachments.clear()
        if self._watching is not None:
            self._watching.__exit__(None, None, None)
        if self._hearing is not None:
            self._hearing.__exit__(None, None, None)
        self.deps.attention.leave(self)

    def welcome(self) -> None:
        """Send `ready`."""
        self.writer.put(replies.ready(self.config, self.device, self.deps.clock()))

    def heads(self) -> dict[str, tuple[int, int]]:
        """Return (epoch, head_seq) of each followed session whose head is known now."""
        return {name: one.head for name, one in self._attachments.items() if one.tail.is_current}

    async def follow(self, frame: cf.ClientFrame) -> None:
        """Do what a frame asks for, if the device may."""
        frame = aliased(frame, self.deps.aliases)
        if isinstance(frame, cf.PingFrame):
            self.writer.put(replies.pong(self.deps.clock()))
        elif isinstance(frame, cf.AttachFrame):
            await self._attach(frame)
        elif isinstance(frame, cf.DetachFrame):
            self._detach(frame.session_id)
        elif isinstance(frame, cf.WatchSessionsFrame):
            self._watch_sessions()
        elif isinstance(frame, cf.FocusFrame):
            self._focus(frame)
        elif isinstance(frame, cf.AuthFrame):
            self._sign_in_again(frame)
        else:
            await self._act(frame)

    def _sign_in_again(self, frame: cf.AuthFrame) -> None:
        """Answer a key after the sign-in: a device may send it in the header and in a frame."""
        found = self.deps.devices.find(frame.token)
        if found is not None and found.id == self.device.id:
            self.welcome()
        else:
            self._send_error("unauthorized", "The key is not valid here.")
            self.writer.close(close_codes.BAD_KEY)

    def _watch_sessions(self) -> None:
        self._watches_all = True
        self._feed_sessions()
        if self._hearing is None:
            self._hearing = self.deps.attention.listen(self._hear_alert)
            self._hearing.__enter__()

    def _hear_alert(self, fields: dict[str, Any]) -> None:
        self.writer.put(replies.alert(fields, self.deps.clock()))

    def _focus(self, frame: cf.FocusFrame) -> None:
        attachment = self._attachments.get(frame.session_id or "")
        label = self._label if attachment is None else attachment.own.device_id
        idle_ms = int(1000 * frame.idle_s)
        self.deps.attention.focus(
            self,
            self.device.id,
            label or self.device.id,
            frame.session_id,
            visible=frame.visible,
            idle_ms=idle_ms,
        )

    def _feed_sessions(self) -> None:
        """Send changed entries of sessions from now on: of the attached ones, or of all."""
        if self._watching is None:
            deps = self.deps
            feed = SessionFeed(self.writer, deps.catalog, deps.clock, self._wants_entry, deps.nodes)
            self._watching = self.deps.watch(feed.changed)
            self._watching.__enter__()

    def _wants_entry(self, session_id: str) -> bool:
        return self._watches_all or session_id in self._attachments

    async def _attach(self, frame: cf.AttachFrame) -> None:
        session_id = frame.session_id
        earlier = self._attachments.get(session_id)
        if earlier is None and len(self._attachments) >= MAX_ATTACHED:
            content = f"This connection follows {MAX_ATTACHED} sessions already. Detach from one first."
            self._send_rejected(session_id, Rejected("queue_full", content))
            return
        try:
            attaching = Attaching(
                self.config, self.deps, self.device, self, frame, earlier, renderings=self.renderings
            )
            attachment, texts, first = await attaching.run()
        except AttachRefused as refused:
            self._send_rejected(session_id, refused.rejected)
            return
        except SessionRefused as refused:
            self._send_error(refused.code, str(refused), session_id)
            return
        except FAILURES as error:
            self._send_failure(session_id, error, None)
            return
        self._attachments[session_id] = attachment
        self._label = attachment.own.device_id
        self._enter(attachment.record)
        self._feed_sessions()
        for text in texts:
            self.writer.put(text)
        self.writer.put_frames(encode_round(first))
        self.writer.put_frames(attachment.trouble())
        attachment.start()

    def _enter(self, record: DeviceRecord) -> None:
        if record not in self._records and len(self._records) < MAX_LABELS_OF_A_KEY:
            self._records.append(record)
            record.enter(self.writer)

    def _close_attachment(self, session_id: str) -> None:
        attachment = self._attachments.pop(session_id, None)
        if attachment is not None:
            attachment.close()

    def _detach(self, session_id: str, content: str = "") -> None:
        self._close_attachment(session_id)
        self.writer.put(replies.detached(session_id, self.deps.clock(), content))

    def lost(self, attachment: DeviceAttachment) -> None:
        """Implements `transport.v3.attachment.AttachedConnection`."""
        self._detach(attachment.session_id, "The session was restored to another state. Attach again.")

    async def _act(self, frame: cf.CommandFrame) -> None:
        refusal = self._refusal(frame)
        if refusal is not None:
            self._send_rejected(frame.session_id, refusal)
            return
        if isinstance(frame, cf.PaintedFrame):
            self._painted(frame)
            return
        try:
            await self._submit(frame)
        except FAILURES as error:
            self._send_failure(frame.session_id, error, frame)

    def _painted(self, frame: cf.PaintedFrame) -> None:
        attachment = self._attachments[frame.session_id]
        if frame.seq <= attachment.head[1]:  # an event that there is not yet cannot have been shown
            attachment.record.painted(trio.current_time(), frame.ms)

    def _refusal(self, frame: cf.CommandFrame) -> Rejected | None:
        if not authorize(self.device.scope, frame.name):
            return refuse(frame, "forbidden", "This key may not do that.")
        attachment = self._attachments.get(frame.session_id)
        if attachment is None:
            return refuse(frame, "not_attached", "Attach to the session first.")
        if attachment.observes and frame.name not in OBSERVER_FRAMES:
            return refuse(frame, "observer", "This device only watches the session.")
        return None if isinstance(frame, cf.SendFrame) else oversized(frame)

    async def _submit(self, frame: cf.CommandFrame) -> None:
        session_id = frame.session_id
        label = self._attachments[session_id].own.device_id
        author = Author(self.device.id, label, self.device.name)
        command = with_rights(await self._command(frame), self.device.scope)
        envelope = Envelope(command, author, partial(self._on_reply, session_id))
        if self.writer.closing is not None:
            return  # its key was revoked while its files were looked up
        if frame.name not in UNATTENDED:
            self.deps.attention.use(label)
        with trio.move_on_after(self.config.submit_s) as taking:
            await self.deps.bus.submit(session_id, envelope)
        if taking.cancelled_caught:
            busy = refuse(frame, "storage", "The session accepts no commands at the moment. Try again.")
            self._send_rejected(session_id, busy)

    async def _command(self, frame: cf.CommandFrame) -> Command:
        """Return the command of a frame. A message that cannot be taken goes to the owner too: its id may be known."""
        if not isinstance(frame, cf.SendFrame):
            return to_command(frame)
        too_large = oversized(frame)
        if too_large is not None:
            return Send(frame.message_id, "", flaw=(too_large.code, too_large.content))
        urls = [ref.url for ref in frame.attachments]
        files = await attachments_of(self.deps.uploads, frame.session_id, urls)
        if files is None:
            return Send(frame.message_id, "", flaw=("bad_attachment", "There is no such upload."))
        return to_command(frame, files)

    def _on_reply(self, session_id: str, reply: Reply) -> None:
        if isinstance(reply, Accepted):
            self.writer.put(replies.accepted(session_id, reply, self.deps.clock()))
        elif isinstance(reply, Rejected):
            self._send_rejected(session_id, reply)

    def _send_error(
        self, code: str, content: str, session_id: str | None = None, message_id: str | None = None
    ) -> None:
        self.writer.put(replies.error(code, content, self.deps.clock(), session_id, message_id))

    def _send_rejected(self, session_id: str, reply: Rejected) -> None:
        self.writer.put(replies.rejected(session_id, reply, self.deps.clock()))

    def _send_failure(
        self, session_id: str, error: ActorError | StorageError, frame: cf.CommandFrame | None
    ) -> None:
        """Answer a failure with `rejected` if the device may send the same frame again, else with `error`."""
        failure = failure_of(error, f"session {session_id}")
        if failure.code == "shutting_down" or (failure.code == "storage" and frame is not None):
            code, text = failure.code, failure.text
            self._send_rejected(
                session_id, Rejected(code, text) if frame is None else refuse(frame, code, text)
            )
        else:
            message_id = None if frame is None else answers_to(frame)[0]
            self._send_error(failure.code, failure.text, session_id, message_id)
