"""What the transport needs of the rest of the server, beyond the ports of `actors`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol, get_args

import attrs

from actors.events import Attachment
from actors.ports import Catalog, Clock, CommandBus, Ids, Journal, LiveBus
from storage.aliases import Aliases
from storage.tables.app_exchanges import OpenExchange
from transport.audit_trail import AuditTrail
from transport.facilities import HttpServices
from transport.rendering.protocol import Block
from transport.tries import SignInThrottle

__all__ = [
    "SCOPES",
    "AppKeys",
    "AppPairs",
    "AppPorts",
    "Deps",
    "Device",
    "Devices",
    "Renders",
    "Scope",
    "SessionListener",
    "SessionWatch",
    "Uploads",
]

Scope = Literal["view", "approve", "drive", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""From the least to the most rights."""

"""What a key may do; each holds those before it."""


class Renders(Protocol):
    """Makes HTML of Markdown; `transport.rendering.renderer` says how."""

    async def render(self, blocks: Sequence[Block]) -> str | None:
        """Return sanitised HTML, None where the text is to be shown as it is. Takes the loop no time."""
        ...


class Device(Protocol):
    """Whoever holds a key."""

    @property
    def id(self) -> str:
        """Its id; also its label until it attaches with another."""
        ...

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def scope(self) -> str:
        """One of `Scope`."""
        ...


class Devices(Protocol):
    """The keys that are valid now."""

    def find(self, key: str) -> Device | None:
        """Return whose key this is, in constant time; None for an unknown or revoked one. Never blocks."""
        ...

    async def claim_label(self, label: str, device_id: str) -> bool:
        """Note that `label` is this device's; False for another device's, and for a name of the system."""
        ...


class SessionListener(Protocol):
    """Whoever follows the list of sessions."""

    def changed(self, session_id: str) -> None:
        """Note that a session's entry may have changed. Must not block, raise or call back."""
        ...


class SessionWatch(Protocol):
    """News about sessions, for lists."""

    def watch(self, listener: SessionListener) -> AbstractContextManager[None]:
        """Have `listener.changed` called for every session that changes while inside the block."""
        ...


class Uploads(Protocol):
    """The files that devices brought."""

    async def find(self, url: str) -> Attachment | None:
        """Return the upload behind an address that this server gave out; None where there is none."""
        ...

    async def use(self, session_id: str, files: Sequence[Attachment]) -> bool:
        """Note that a message of the session has these files, before it is handed on: they stay while the
        session does. False where one is gone meanwhile.
        """
        ...


def _ignore(_: str, __: int) -> None:
    pass


class AppPairs(Protocol):
    """What is kept of the shipped app between two connections; `storage.tables.app_exchanges` says what each call does."""

    async def use(self, device_id: str, session_id: str, key: str, *, now_ms: int, keep_ms: int) -> None:
        """Note that a pair was used with `key` just now."""
        ...

    async def owner(self, device_id: str, session_id: str, *, since_ms: int) -> bytes | None:
        """Return the hash of the key that a pair was last used with, if not before `since_ms`."""
        ...

    async def open(
        self, device_id: str, session_id: str, message_id: str, *, now_ms: int, keep_ms: int
    ) -> None:
        """Note that an answer is wanted."""
        ...

    async def open_exchanges(self, device_id: str, session_id: str) -> Sequence[OpenExchange]:
        """Return what a pair still wants, in the order of asking."""
        ...

    async def settle(self, told: Sequence[OpenExchange], closed: Sequence[str]) -> None:
        """Note how much was told of some answers, and that others are done with."""
        ...


class AppKeys(Protocol):
    """Whose key a hash or an id stands for; None where that key is not good any more."""

    def find_hash(self, wanted: bytes) -> Device | None:
        """Return the device whose good key has this hash."""
        ...

    def get(self, device_id: str) -> Device | None:
        """Return the device of this id."""
        ...


@attrs.frozen
class AppPorts:
    """What only the shipped app's connections need. `new_id` makes message ids: the app has none."""

    pairs: AppPairs
    keys: AppKeys
    new_id: Ids


@attrs.frozen(kw_only=True)
class Deps:
    """All that a connection or a route holds of the rest of the server.

    Attributes:
        aliases: what stands for the ids of the iOS app.
        uploads: None until there are any: then every attachment is a bad one.
        renderer: None where nothing renders: then `format=html` is refused.
        app: None where the shipped app is not served: then its upgrades get 503.
        facilities: what the routes beside the conversation work with; None where they are not served.
        tries: who may still try a key.
        trail: where sign-ins are noted; None where nobody wants to know.
        on_taken: told (session_id, seq) whenever a round up to `seq` goes to a device. Must not block.
    """

    bus: CommandBus
    live: LiveBus
    catalog: Catalog
    journal: Journal
    devices: Devices
    watch: SessionWatch
    clock: Clock
    aliases: Aliases
    uploads: Uploads | None = None
    renderer: Renders | None = None
    app: AppPorts | None = None
    facilities: HttpServices | None = None
    on_taken: Callable[[str, int], None] = _ignore
    tries: SignInThrottle = attrs.field(factory=SignInThrottle)
    trail: AuditTrail | None = None
