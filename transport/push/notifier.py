"""Notifications, as the rest of the server sees them, and the task that serves the channels.

A server without a channel has only this: the task waits for the first one, or for somebody who hears `alert` frames.
`transport.push.engine` is loaded then, and what sends (the packages of the extra `push`) with the first channel.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from actors.crashes import run_guarded
from actors.ports import Clock, Ids
from storage.errors import StorageError
from storage.store import Notified
from storage.tables.devices import DeviceTable
from storage.tables.notifications.channels import Channel, NewChannel
from transport.push.attention import Attention
from transport.push.senders.endpoints import Allowed, origin_parts
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.settings import PushSettings

if TYPE_CHECKING:
    from transport.ports import Deps

__all__ = ["PACKAGES", "Engine", "Notifier", "has_packages", "run_notifier"]

PACKAGES: Final = ("cryptography", "httpcore2")
"""What the extra `push` installs."""

KEY_NAME: Final = "push_key"
START_S: Final = 10.0
"""How long a test waits for the tasks to be loaded."""

FIRST_RETRY_S: Final = 1.0
RETRY_S: Final = 30.0
"""How long after a crash of the tasks they start again: soon, then after twice as long each time, up to this. A person may
wait for a card, and a database that fails for a moment is often back."""

logger = logging.getLogger("builderos.transport")


class Engine(Protocol):
    """What serves the channels; `transport.push.engine` has it."""

    def wake(self) -> None:
        """Look at what is due."""
        ...

    async def send_test(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Send one card now; return the service's answer."""
        ...


def has_packages() -> bool:
    """Return whether the extra `push` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


@attrs.define(eq=False)
class Notifier:
    """The channels of this server, and the tasks that serve them once there is one.

    Attributes:
        settle: returns the value that is stored under a name; the first call stores the given one.
        new_key: makes the secret of the server's own key.
        environment: of programs of the config.
        place: what differs for a copy of the database. A copy notifies no device before that shows itself.
    """

    tables: Notified
    devices: DeviceTable
    settings: PushSettings
    attention: Attention
    clock: Clock
    new_id: Ids
    settle: Callable[[str, str], Awaitable[str]]
    new_key: Callable[[], str] = attrs.field(repr=False)
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    place: str = ""
    engine: Engine | None = None
    _running: trio.Event = attrs.field(factory=trio.Event)
    _registered: trio.Event = attrs.field(factory=trio.Event)
    _public: str | None = None
    _secret: str | None = None

    @property
    def allowed(self) -> Allowed:
        """The addresses that the config adds to those of the known push services."""
        found = (origin_parts(text) for text in self.settings.hosts)
        return Allowed(frozenset(one for one in found if one is not None))

    async def server_key(self) -> str | None:
        """Return the public key that browsers subscribe with; None without the extra `push`."""
        if self._public is None and has_packages():
            await trio.to_thread.run_sync(import_module, "transport.push.senders.web_push")  # takes 50 ms
            from transport.push.senders.web_push import key_of, public_key, unpadded

            self._public = unpadded(public_key(key_of(await self.secret())))
        return self._public

    async def secret(self) -> str:
        """Return the secret of the server's own key, made once and then remembered: strangers may have it asked for."""
        if self._secret is None:
            self._secret = await self.settle(KEY_NAME, self.new_key())
        return self._secret

    async def register(self, channel: NewChannel) -> str | None:
        """Store a channel, and serve it; return its id, or None if there are too many."""
        channel_id = await self.tables.channels.register(channel, self.clock())
        self._registered.set()
        if self.engine is not None:
            self.engine.wake()
        return channel_id

    def sends(self, kind: str) -> bool:
        """Return whether this server can send to channels of this kind."""
        if kind == "command":
            return bool(self.settings.command)
        wanted = {"web": True, "apns": self.settings.apns is not None, "ntfy": bool(self.settings.ntfy)}
        return wanted.get(kind, False) and has_packages()

    def began(self, engine: Engine) -> None:
        """Take what serves the channels from now on."""
        self.engine = engine
        self._running.set()

    def ended(self) -> None:
        """Take that nothing serves the channels any more."""
        self.engine = None

    async def serving(self, kind: str) -> Engine | None:
        """Return what serves channels of a kind; it takes a moment to load. None if they cannot be served."""
        if self.engine is None and self.sends(kind):
            with trio.move_on_after(START_S):
                await self._running.wait()
        return self.engine

    def look_again(self) -> None:
        """Look for channels that another node registered, and for what is due."""
        self._registered.set()
        if self.engine is not None:
            self.engine.wake()

    async def wait_needed(self) -> bool:
        """Wait for a channel that can be served, or for somebody who hears `alert` frames; return whether there is a
        channel. Raises StorageUnavailable."""
        await self._configure()
        self.attention.heard = self._wake
        while not await self._has_channel():
            if self.attention.is_heard:
                return False
            await self._woken()
        await self._begin_sending()
        return True

    async def wait_channel(self) -> None:
        """Wait for a channel that can be served. Raises StorageUnavailable."""
        while not await self._has_channel():
            await self._woken()

    def _wake(self) -> None:
        self._registered.set()

    async def _woken(self) -> None:
        await self._registered.wait()
        self._registered = trio.Event()

    async def _has_channel(self) -> bool:
        return any(self.sends(one.kind) for one in await self.tables.channels.listing())

    async def _begin_sending(self) -> None:
        if await self.tables.alerts.is_copy(self.place):
            logger.warning(
                "notifications: the database is a copy, so its devices have to show themselves first"
            )
            await self.tables.channels.sleep()

    async def _configure(self) -> None:
        """Store the channels of the config as rows, so that each delivery has its channel; unless there are none."""
        made = [(kind, name) for kind in ("ntfy", "command") for name in getattr(self.settings, kind)]
        known = {one.address for one in await self.tables.channels.listing() if not one.owner}
        if known != {f"{kind}.{name}" for kind, name in made}:
            rows = [
                NewChannel(
                    channel_id=f"{kind}.{name}", kind=kind, owner="", label=name, address=f"{kind}.{name}"
                )
                for kind, name in made
            ]
            await self.tables.channels.configure(rows, self.clock())


async def run_notifier(notifier: Notifier, deps: Deps) -> None:
    """Wait until somebody is to be notified, then do that, until cancelled. Its crashes stay here."""

    async def serve() -> None:
        while True:
            sends = await notifier.wait_needed()
            if "transport.push.engine" not in sys.modules:
                await trio.to_thread.run_sync(import_module, "transport.push.engine")
            from transport.push.engine import run_engine

            await run_engine(notifier, deps, sends=sends)

    retry_s = FIRST_RETRY_S
    while True:
        began = trio.current_time()
        died_of = await run_guarded(serve)
        if trio.current_time() - began > RETRY_S:
            retry_s = FIRST_RETRY_S
        if isinstance(died_of, ExceptionGroup) and died_of.subgroup(StorageError) is not None:
            logger.warning("notifications: the database fails, next try in %.0f s", retry_s)
        else:
            logger.error("notifications: stopped, next try in %.0f s", retry_s, exc_info=died_of)
        await trio.sleep(retry_s)
        retry_s = min(2 * retry_s, RETRY_S)
