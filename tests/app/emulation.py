"""The shipped iOS app as a state machine: what it sends when, and what the person sees of what it gets.

Written from the description of the app alone; it shares nothing with the server and imports nothing of it.
Time is handed in: `advance(now)` runs whatever is due, so one phone runs under a virtual clock or a real one.
The oddities are meant: one flag for "authenticated" and "ready" that is reset in between, delegates that do
not ask which socket called them, a debounce that forgets text, a reconnect that sends no key.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

import attrs

__all__ = ["Air", "Bubble", "Phone", "Profile", "jitter_of"]

POLL_S = 0.1
OPEN_LIMIT_S = 5.0
AUTH_LIMIT_S = 5.0
DEBOUNCE_S = 0.1
PING_S = 25.0
RECONNECT_S = 2.4
WORKING_DIRECTORY = json.dumps({"working_directory": "/Users/Ty/BuilderOS"})

Steps = Generator[float, None, None]
"""A task of the app: each yield is a sleep."""


@attrs.frozen
class Profile:
    """How the two services of the app differ.

    Attributes:
        debounces: frames closer than 100 ms overwrite one another.
        drawn: frame types that are drawn as the answer; the one-word change adds `peer_message`.
    """

    chat_type: str
    ready_limit_s: float
    debounces: bool
    drawn: frozenset[str]

    @classmethod
    def claude(cls, *more: str) -> Profile:
        return cls("jarvis", 15.0, debounces=True, drawn=frozenset({"message", *more}))

    @classmethod
    def codex(cls, *more: str) -> Profile:
        return cls("codex", 5.0, debounces=False, drawn=frozenset({"message", "stream", *more}))


@attrs.define
class Bubble:
    """One bubble of the chat. `author` is `user`, `assistant` or `error`."""

    author: str
    text: str


class Air(Protocol):
    """The network below the phone. Calls come back through the phone's `on_…`."""

    def open(self, socket: int) -> None: ...
    def send(self, socket: int, text: str) -> None: ...
    def ping(self, socket: int) -> None: ...
    def close(self, socket: int) -> None: ...
    def delete_session(self, session_id: str) -> None: ...


@attrs.define(eq=False)
class Phone:
    """One tab of the app.

    Attributes:
        jitter: makes the delay of each frame, in seconds: frames run in tasks of their own.
        ready_after: for each connect that finished, whether `ready` was seen in time.
        statuses: what the status line said.
    """

    air: Air
    profile: Profile
    key: str
    session_id: str
    device_id: str
    jitter: Callable[[], float] = lambda: 0.0
    now: float = 0.0
    bubbles: list[Bubble] = attrs.field(factory=list)
    ready_after: list[bool] = attrs.field(factory=list)
    statuses: list[str] = attrs.field(factory=list)
    is_connected: bool = False
    is_connecting: bool = False
    is_loading: bool = False
    completes: int = 0
    closed: list[int | None] = attrs.field(factory=list)
    _flag: bool = False
    _is_ready: bool = False
    _sent_anything: bool = False
    _awaits_first: bool = False
    _current: str = ""
    _pending: int = 0
    _socket: int | None = None
    _sockets: Iterator[int] = attrs.field(factory=itertools.count)
    _agenda: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)
    _left: bool = False
    _released: set[int] = attrs.field(factory=set)

    # ---- time ----

    def advance(self, now: float) -> None:
        """Run all that is due."""
        while self._agenda and self._agenda[0][0] <= now:
            at, _, run = heapq.heappop(self._agenda)
            self.now = max(self.now, at)
            run()
        self.now = max(self.now, now)

    @property
    def next_at(self) -> float | None:
        """When something is due."""
        return self._agenda[0][0] if self._agenda else None

    def _later(self, delay: float, run: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay, next(self._numbers), run))

    def _spawn(self, steps: Steps) -> None:
        def step() -> None:
            delay = next(steps, None)
            if delay is not None:
                self._later(delay, step)

        self._later(0.0, step)

    # ---- what the person does ----

    def new_tab(self) -> None:
        """Open a tab: two connects at once, of which the first socket stays silent."""
        self._spawn(self._connect())
        self._spawn(self._connect())

    def press_reconnect(self) -> None:
        """Settings, Reconnect: closes the session by HTTP and connects it again."""
        self.air.delete_session(self.session_id)
        self._drop_socket()
        self._spawn(self._connect())

    def close_tab(self) -> None:
        """Both places that close a tab tell the server."""
        self._left = True
        self.air.delete_session(self.session_id)
        self._drop_socket()
        self.air.delete_session(self.session_id)

    @property
    def can_send(self) -> bool:
        """Whether the composer is open."""
        return self.is_connected and not self.is_loading

    def type(self, text: str, attachments: list[dict[str, Any]] | None = None) -> None:
        """Send a message."""
        assert self.can_send, "the composer is locked"
        self.bubbles.append(Bubble("user", text))
        self._sent_anything = True
        self.is_loading = True
        self._current, self._awaits_first = "", True
        body: dict[str, Any] = {
            "content": text,
            "session_id": self.session_id,
            "device_id": self.device_id,
            "chat_type": self.profile.chat_type,
        }
        if attachments:
            body["attachments"] = attachments
        if self._socket is not None:
            self.air.send(self._socket, json.dumps(body))

    @property
    def seen(self) -> str:
        """The last answer as it stands on the screen."""
        return next((one.text for one in reversed(self.bubbles) if one.author == "assistant"), "")

    @property
    def errors(self) -> list[str]:
        """The error bubbles."""
        return [one.text for one in self.bubbles if one.author == "error"]

    # ---- its connection ----

    def _connect(self) -> Steps:
        self.is_connecting = True
        mine = self._socket = next(self._sockets)
        self.air.open(mine)
        yield from self._sign_in()
        self.is_connecting = False
        if mine != self._socket:
            self._released.add(mine)  # nobody holds the silent twin any more
            self.air.close(mine)

    def _sign_in(self) -> Steps:
        if not (yield from self._poll(lambda: self.is_connected, OPEN_LIMIT_S)):
            return
        self._send(self.key)
        if not (yield from self._poll(lambda: self._flag, AUTH_LIMIT_S)):
            return
        self._send(WORKING_DIRECTORY)
        self._flag = self._is_ready = False  # a `ready` that came before this line is forgotten
        ready = yield from self._poll(lambda: self._flag, self.profile.ready_limit_s)
        self.ready_after.append(ready)
        if ready:
            self._is_ready = True
            if self._socket is not None:
                self._spawn(self._heartbeat(self._socket))

    def _poll(self, done: Callable[[], bool], limit: float) -> Generator[float, None, bool]:
        waited = 0.0
        while not done():
            if waited >= limit:
                return False
            yield POLL_S
            waited += POLL_S
        return True

    def _heartbeat(self, socket: int) -> Steps:
        while socket == self._socket and self.is_connected:
            yield PING_S
            self.air.ping(socket)  # of a socket that is gone this does nothing

    def _reconnect(self) -> Steps:
        yield RECONNECT_S
        if not self._left and not self.is_connected:
            # Its own task is cancelled by the connect: a socket is opened, and no key is ever written.
            self._socket = next(self._sockets)
            self.air.open(self._socket)

    def _send(self, text: str) -> None:
        if self._socket is not None:
            self.air.send(self._socket, text)

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self.air.close(self._socket)
        self._socket, self.is_connected = None, False

    # ---- what comes; nobody asks on which socket ----

    def on_open(self, socket: int) -> None:
        self.is_connected = True

    def on_close(self, socket: int, code: int | None) -> None:
        if socket in self._released:
            return
        self.closed.append(code)
        if self._left:
            return
        self.is_connected, self._socket = False, None
        if not self.is_connecting:
            self._spawn(self._reconnect())

    def on_text(self, socket: int, text: str) -> None:
        self._later(self.jitter(), lambda: self._take(text))

    def _take(self, text: str) -> None:
        if text.startswith("error:"):
            self.statuses.append(text)
            self.is_loading = False
        elif text == "authenticated":
            self._flag = True
        elif "working_directory" in text and not self._is_ready:
            return
        else:
            frame = self._decode(text)
            if frame is not None:
                self._show(frame)
            elif self._sent_anything:
                self.bubbles.append(Bubble("error", "Error: Invalid message format"))

    def _decode(self, text: str) -> dict[str, Any] | None:
        try:
            frame = json.loads(text)
        except ValueError:
            return None
        if not isinstance(frame, dict):
            return None
        if not all(isinstance(frame.get(name), str) for name in ("type", "content", "timestamp")):
            return None
        usage = frame.get("usage")
        if self.profile.chat_type == "codex" and usage is not None:
            names = ("input_tokens", "cached_input_tokens", "output_tokens")
            if not isinstance(usage, dict) or any(
                type(usage.get(name, 0)) is not int and usage.get(name) is not None for name in names
            ):
                return None
        return frame

    def _show(self, frame: dict[str, Any]) -> None:
        kind, content = frame["type"], frame["content"]
        if kind in self.profile.drawn:
            self._draw(content)
        elif kind == "ready":
            self._flag = True
        elif kind == "complete":
            self._complete()
        elif kind == "error":
            self.is_loading = False
            self._pending += 1
            self._current = ""
            self.bubbles.append(Bubble("error", "Error: " + content))

    def _draw(self, content: str) -> None:
        whole = self._current + content
        if not self.profile.debounces:
            self._store(whole)
            return
        self._pending += 1
        mine = self._pending

        def store() -> None:
            if mine == self._pending:
                self._store(whole)

        self._later(DEBOUNCE_S, store)

    def _store(self, whole: str) -> None:
        self._current = whole
        last = self.bubbles[-1] if self.bubbles else None
        if self._awaits_first or last is None or last.author != "assistant":
            self._awaits_first = False
            self.bubbles.append(Bubble("assistant", whole))
        else:
            last.text = whole

    def _complete(self) -> None:
        self.completes += 1
        self.is_loading = False
        self._pending += 1  # what still waited for its 100 ms is lost
        last = self.bubbles[-1] if self.bubbles else None
        if self.profile.debounces and last is not None and last.author == "assistant" and self._current:
            text = re.sub(r"<tts-summary>.*?</tts-summary>", "", self._current)
            text = text.replace("## ", "").replace("# ", "")
            last.text = re.sub(r"\*(.+?)\*", "", text)
        self._current = ""


def jitter_of(rng: random.Random, upto_s: float = 0.08) -> Callable[[], float]:
    """Return delays of up to 80 ms, as seen on mobile networks."""
    return lambda: rng.uniform(0.0, upto_s)
