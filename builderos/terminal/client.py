"""One terminal without its screen: connection, list, outbox, and the open session. A `View` hears of changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import attrs

from builderos.client.machines import machines_of
from builderos.client.moments import wire_moment
from builderos.client.state import Follow, RefusedError
from builderos.client.wire.frames import Frame, encode
from builderos.client.wire.server import Server
from builderos.terminal.keep import Keep, Waiting
from builderos.terminal.model.conversation import ConversationModel
from builderos.terminal.model.sessions import Sessions
from builderos.terminal.wire.paint import Paint
from builderos.terminal.wire.wire import Wire

__all__ = ["SCOPES", "Client", "NoView", "View"]

SCOPES: Final = {"view": "View only", "approve": "View and approve", "drive": "Full use", "admin": "Admin"}
"""The name of each scope of a key, from the fewest to the most rights."""

PACE_MS: Final = 10
"""Pieces come in rounds. A round has a limit, so a long one holds up an answer that is written flat out."""

PAGE: Final = 100
"""Entries of one page of older history."""

MAX_MESSAGE_BYTES: Final = 256 * 1024
"""The server takes no longer message."""

MOST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of an answer: changes are up to 4 MiB of patches, which take more as JSON."""


class View(Protocol):
    """The screen, as far as this knows it."""

    def changed(self, *, at_once: bool = False) -> None:
        """Learn that the open session, the list or the connection changed. `at_once`: nothing more comes soon."""

    def say(self, text: str) -> None:
        """Show a line for a moment."""

    def refused(self, session_id: str, text: str) -> None:
        """Learn that a session cannot be followed."""


class NoView:
    """Hears of changes while there is no screen."""

    def changed(self, *, at_once: bool = False) -> None:
        """Implements `View`."""

    def say(self, text: str) -> None:
        """Implements `View`."""

    def refused(self, session_id: str, text: str) -> None:
        """Implements `View`."""


@attrs.define(eq=False)
class Client:
    """One terminal, less its screen.

    Attributes:
        find: returns the server's current address. Blocks briefly.
        clock: milliseconds since 1970 in UTC.
        device_id: our label.
        observe: watch only.
        history: turns to load first.
        is_own: the server is on this machine, so that our folders are its folders.
        conversation: the open session.
    """

    find: Callable[[], Server]
    keep: Keep
    chance: random.Random
    new_id: Callable[[], str]
    clock: Callable[[], int]
    device_id: str = "terminal"
    observe: bool = False
    history: int = 50
    is_own: bool = False
    view: View = attrs.field(factory=NoView)
    sessions: Sessions = attrs.field(factory=Sessions)
    conversation: ConversationModel | None = None
    paint: Paint = attrs.field(factory=Paint)
    wire: Wire = attrs.field(init=False)
    _waiting: dict[str, Waiting] = attrs.field(factory=dict)
    _follow: Follow | None = None
    _is_loading: bool = False
    _read: int = 0

    def __attrs_post_init__(self) -> None:
        self.wire = Wire(self.find, self.chance, self, more=self._painted)

    # ---- sessions ----

    def restore(self) -> None:
        """Take up the messages that an earlier run of this terminal could not deliver."""
        self._waiting = {one.message_id: one for one in self.keep.waiting()}
        for session_id in dict.fromkeys(one.session_id for one in self._waiting.values()):
            if not self.observe and (self._follow is None or self._follow.session_id != session_id):
                self.wire.wait_for(self._filled(self._make(session_id, None, history=0)))

    def open(
        self, session_id: str, agent: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> ConversationModel:
        """Put a session on the screen; `agent` creates it if it does not exist."""
        follow = self._make(session_id, agent, history=self.history)
        follow.settings = settings
        conversation = self.conversation = ConversationModel(session_id, self.device_id)
        self._follow, self._read = follow, 0
        self.paint.forget()
        self._filled(follow)
        for one in self._waiting.values():
            if one.session_id == session_id:
                conversation.wait(one.message_id, one.content, self._at(), one.not_before or "")
        self.wire.show(follow)
        return conversation

    def close(self) -> None:
        """Leave the session; it continues."""
        self.conversation = self._follow = None
        self.wire.show(None)

    def _make(self, session_id: str, agent: str | None, *, history: int) -> Follow:
        return Follow(
            session_id,
            agent,
            self.device_id,
            observe=self.observe,
            history=history,
            pace_ms=PACE_MS,
            waits=True,
        )

    def _filled(self, follow: Follow) -> Follow:
        """Put the messages that wait for a session into its outbox."""
        for one in self._waiting.values():
            if one.session_id == follow.session_id:
                follow.agent = follow.agent or one.agent
                follow.send_frame(one.message_id, one.content, one.not_before, files=one.files or ())
        return follow

    # ---- what a person does ----

    @property
    def scope(self) -> str:
        """What this device's key may do."""
        device = self.wire.ready.body.get("device") if self.wire.ready else None
        return str(device.get("scope")) if isinstance(device, dict) else "drive"

    def may(self, scope: str) -> bool:
        """Return whether the key allows this, and we do not only watch."""
        scopes = list(SCOPES)
        return not self.observe and self.scope in scopes and scopes.index(self.scope) >= scopes.index(scope)

    def send(
        self,
        text: str,
        *,
        at: datetime | None = None,
        mode: str | None = None,
        message_id: str = "",
        files: Sequence[str] = (),
    ) -> bool:
        """Send a message, now or as soon as there is a connection, exactly once; tell whether it was taken.

        `files` are addresses that `upload` returned.
        """
        follow, conversation = self._follow, self.conversation
        if follow is None or conversation is None:
            return False
        if not self.may("drive"):
            self.view.say("View only: this device can't send messages.")
            return False
        if len(text.encode(errors="replace")) > MAX_MESSAGE_BYTES:
            self.view.say("Not sent: the text is over 256 KiB. Put it into a file and name it with @.")
            return False
        message_id = message_id or self.new_id()
        not_before = None if at is None else wire_moment(at)
        message = Waiting(follow.session_id, message_id, text, not_before, follow.agent, list(files))
        if len(follow.outbox) < 100:  # what `Follow` takes; it must be on disk before it goes out
            self.keep.wait(message)
        try:
            self._waiting[message_id] = message
            conversation.wait(message_id, text, self._at(), not_before or "")
            self.wire.message(follow, message_id, text, not_before=not_before, mode=mode, files=files)
            self.wire.look()
        except OverflowError as error:
            self._forget(message_id)
            self.view.say(f"Not sent: {error}.")
            return False
        self.view.changed()
        return True

    def take_back(self, message_id: str) -> None:
        """Take a message back: out of our outbox, or out of the server's queue."""
        follow, conversation = self._follow, self.conversation
        if follow is None or conversation is None:
            return
        if message_id in follow.outbox and not follow.attached:
            follow.forget(message_id)
            self._forget(message_id)
        else:
            self.act("cancel", message_id=message_id)

    def act(self, kind: str, **fields: Any) -> bool:
        """Give a command about the open session; say it if that is not possible now."""
        went_out = self.wire.act(kind, **fields)
        self.wire.look()
        if not went_out:
            self.view.say("Not connected at the moment.")
        return went_out

    def mark_read(self) -> None:
        """Tell the others that a person has seen everything."""
        follow, conversation = self._follow, self.conversation
        if follow is None or conversation is None or follow.position is None or not self.may("approve"):
            return
        seq = follow.position.seq
        if seq > max(self._read, conversation.read_seq) and self.wire.behind == 0:
            self._read = seq
            self.wire.act("mark_read", seq=seq)

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Call the server over HTTP. Raises RefusedError, LinkLostError, NoServerError."""

        def work() -> Mapping[str, Any]:
            from builderos.client.wire.http import call  # takes time to load

            return call(self.find(), method, path, body, most_bytes=MOST_BYTES)

        return await asyncio.to_thread(work)

    async def upload(self, path: Path) -> str:
        """Upload a file for a message; return its address. Raises as `builderos.client.upload.upload`."""

        def work() -> str:
            from builderos.client.upload import upload  # takes time to load

            return upload(self.find(), path, self.new_id())

        return await asyncio.to_thread(work)

    async def of_session(
        self, what: str, method: str = "GET", body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Call the server about the open session."""
        name = self.conversation.session_id if self.conversation else ""
        return await self.call(method, f"/api/sessions/{quote(name, safe='')}/{what}", body)

    async def delete(self) -> Mapping[str, Any]:
        """Delete the open session."""
        name = self.conversation.session_id if self.conversation else ""
        return await self.call("DELETE", f"/api/sessions/{quote(name, safe='')}")

    @property
    def may_load_older(self) -> bool:
        """Whether there is something before what is known, and it is not on its way yet."""
        known = self.conversation
        return known is not None and not self._is_loading and known.timeline.first_seq > 1

    async def load_older(self) -> None:
        """Fetch a page of what was before."""
        conversation = self.conversation
        if conversation is None or not self.may_load_older:
            return
        self._is_loading = True
        try:
            first = conversation.timeline.first_seq
            page = await self.of_session(f"messages?before_seq={first}&limit={PAGE}")
        except Exception:
            return
        finally:
            self._is_loading = False
        messages = [one for one in page.get("messages") or () if isinstance(one, dict)]
        if conversation is self.conversation and conversation.timeline.first_seq == first:
            conversation.older(messages, more=page.get("next_before") is not None)
            self.view.changed(at_once=True)  # the person may be at the top already

    async def load_sessions(self) -> None:
        """Fetch the list."""
        found = await self.call("GET", "/api/sessions?limit=500")
        self.sessions.fill(found.get("sessions"))
        self.view.changed()

    async def machines(self) -> list[Mapping[str, Any]]:
        """Return the machines that share the list; empty if the server has it for itself, or cannot say now."""
        try:
            return machines_of(await self.call("GET", "/api/nodes")) if self.wire.state == "live" else []
        except Exception:
            return []

    def drawn(self) -> None:
        """Note that the screen shows what came, so that the server learns how long that takes."""
        self.paint.drawn(self.clock())

    def _painted(self) -> str | None:
        follow = self._follow
        fields = (
            self.paint.report(follow.session_id, self.clock())
            if follow is not None and follow.attached
            else None
        )
        return None if fields is None else encode("painted", **fields)

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.fromtimestamp(self.clock() / 1000, UTC)

    def _at(self) -> str:
        return wire_moment(self.now())

    # ---- what the wire hears ----

    def on_frame(self, frame: Frame) -> None:
        """Implements `Listener`."""
        if frame.kind == "session_changed":
            self.sessions.update(frame.body)
        conversation = self.conversation
        if conversation is not None and self._follow is not None:
            if frame.kind == "attached":
                conversation.session_id = self._follow.session_id
                self._follow.agent = None  # it exists: one that is deleted from now on is not created again
            if frame.session_id == conversation.session_id:
                if conversation.machine != self._follow.machine:
                    conversation.machine = self._follow.machine
                    conversation.timeline.touch_unsent()
                conversation.take(frame)
                self.paint.take(frame)
        if frame.kind == "rejected":
            self._rejected(frame)
        elif frame.kind == "error" and frame.seq is None:
            self.view.say(frame.content)
        elif (
            frame.kind == "detached"
            and self._follow is not None
            and frame.session_id == self._follow.session_id
        ):
            self.wire.show(self._follow)  # restored to another state, or deleted
        self.view.changed(at_once=frame.ends_turn)

    def on_connection(self) -> None:
        """Implements `Listener`."""
        if self.wire.state == "live" and self.wire.ready is not None:
            self.paint.begin(self.wire.ready, self.wire.round_trip_s, self.clock())
        self.view.changed()

    def on_outbox(self, follow: Follow) -> None:
        """Implements `Listener`."""
        for message_id, one in list(self._waiting.items()):
            if one.session_id == follow.session_id and message_id not in follow.outbox:
                del self._waiting[message_id]
                self.keep.done(message_id)

    def on_refused(self, follow: Follow, error: RefusedError) -> None:
        """Implements `Listener`."""
        if follow is self._follow:
            self.conversation = self._follow = None
            self.view.refused(follow.session_id, str(error))
        else:
            self.view.say(
                f"A message for {follow.session_id} waits, but the server refuses the session: {error}"
            )

    def _rejected(self, frame: Frame) -> None:
        conversation, message_id = self.conversation, frame.text("message_id")
        if self._follow is not None and message_id in self._follow.outbox:
            return  # it is sent again
        entry = conversation.timeline.messages.get(message_id) if conversation is not None else None
        if conversation is not None and entry is not None and entry.state == "waiting":
            entry.state = "failed"
            conversation.timeline.touch(entry)
        if conversation is not None and frame.text("request_id"):
            conversation.refused.add(frame.text("request_id"))
            conversation.version += 1
        self.view.say(frame.content)

    def _forget(self, message_id: str) -> None:
        self._waiting.pop(message_id, None)
        self.keep.done(message_id)
        if self.conversation is not None:
            self.conversation.drop(message_id)
        self.view.changed()
