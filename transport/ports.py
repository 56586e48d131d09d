"""The interfaces that the transport needs from the rest of the server, beyond the ports of `actors`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

import attrs

from actors.events.conversation import Attachment
from actors.ports import Catalog, Clock, CommandBus, Ids, Journal, LiveBus
from storage.aliases import Aliases
from storage.tables.app_exchanges import OpenExchange
from transport.access.attempts import SignInThrottle
from transport.access.audit_trail import AuditTrail
from transport.delays import DeviceDelays
from transport.http.services import HttpServices
from transport.push.attention import Attention
from transport.rendering.protocol import Block

if TYPE_CHECKING:
    from actors.nodes.node_answers import Answers
    from actors.nodes.node_calls import NodeAnswer

__all__ = [
    "SCOPES",
    "AppKeys",
    "AppPairs",
    "AppPorts",
    "Deps",
    "Device",
    "Devices",
    "Nodes",
    "Renders",
    "Scope",
    "Uploads",
    "Watch",
]

Scope = Literal["view", "approve", "drive", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""What a key may do, from the fewest to the most rights; each scope includes those before it."""


class Renders(Protocol):
    """Renders Markdown to HTML; implemented by `transport.rendering.renderer`."""

    async def render(self, blocks: Sequence[Block]) -> str | None:
        """Return sanitised HTML, or None if the text is to be shown as it is. Does not block the event loop."""
        ...


class Device(Protocol):
    """The holder of a key."""

    @property
    def id(self) -> str:
        """Its id; also its label until it attaches with another one."""
        ...

    @property
    def name(self) -> str:
        """Its name for people."""
        ...

    @property
    def scope(self) -> str:
        """One of `Scope`."""
        ...


class Devices(Protocol):
    """The keys that are valid now."""

    def find(self, key: str) -> Device | None:
        """Return the device that has this key, in constant time; None for an unknown or revoked key. Never blocks."""
        ...

    async def claim_label(self, label: str, device_id: str) -> bool:
        """Claim `label` for this device; False for another device's label, and for a name of the system."""
        ...


Watch = Callable[[Callable[[str], None]], AbstractContextManager[None]]
"""Calls a function with the id of every session whose entry in a list may have changed, while inside the block. The
function must not block, raise or call back."""


class Nodes(Protocol):
    """The servers that share the database; implemented by `actors.nodes.machines`."""

    @property
    def own(self) -> str:
        """This node's name."""
        ...

    async def create(self, node: str, session_id: str, fields: Mapping[str, Any]) -> bool:
        """Have another node make a session out of these fields; return False if there was one of this id.

        Raises:
            UnknownNode, MachineAway: nothing was made.
            NodeCallRefused: it refused; the code and the text are for the device.
            StorageError: nobody knows whether it was made.
        """
        ...

    def open(self, node: str, name: str, fields: dict[str, Any]) -> AbstractAsyncContextManager[NodeAnswer]:
        """Ask another node for something. See `actors.nodes.node_calls.NodeCalls.open`."""
        ...

    async def ask(self, node: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Ask another node for JSON. See `actors.nodes.node_calls.NodeCalls.ask`."""
        ...

    def living(self) -> list[str]:
        """Return the nodes that are well, this one too."""
        ...

    def first(self) -> str | None:
        """Return the node that sends notifications; None if none is well."""
        ...

    def serve(self, name: str, answers: Answers) -> None:
        """Answer calls of this name from now on. See `actors.nodes.node_answers.NodeAnswers.serve`."""
        ...

    def find_device(self, device_id: str) -> Awaitable[Device | None]:
        """Return the device of an id, whichever node its key was made at; None if it is not valid. Raises StorageError."""
        ...

    def has(self, node: str) -> bool:
        """Return whether there is, or ever was, a node of this name."""
        ...

    def machine(self, owner: str) -> dict[str, str]:
        """Return how devices see the machine of a session: `id`, `name`, and its `state`: `here`, `there` or `away`."""
        ...

    def machine_of(self, session_id: str) -> dict[str, str] | None:
        """Return the same for a session that was just used; None if its home is not known."""
        ...

    async def listing(self) -> list[dict[str, Any]]:
        """Return all of them, each also with its `version`, `sessions` and `connections`. Raises StorageError."""
        ...

    async def knows_keys(self) -> bool:
        """Return whether this node knows which keys are valid now. Waits a moment until it does."""
        ...


class Uploads(Protocol):
    """The files that devices uploaded."""

    async def find(self, url: str) -> Attachment | None:
        """Return the upload behind an address that this server returned; None if there is none."""
        ...

    async def use(self, session_id: str, files: Sequence[Attachment]) -> bool:
        """Record that a message of the session has these files, before it is submitted: they stay while the session
        does. False if one was removed meanwhile.
        """
        ...


def _ignore(_: str, __: int) -> None:
    pass


class AppPairs(Protocol):
    """The iOS app's state between two connections; `storage.tables.app_exchanges` documents each call."""

    async def use(self, device_id: str, session_id: str, key: str, *, now_ms: int, keep_ms: int) -> None:
        """Record that a pair was used with `key` just now."""
        ...

    async def owner(self, device_id: str, session_id: str, *, since_ms: int) -> bytes | None:
        """Return the hash of the key that a pair was last used with, if not before `since_ms`."""
        ...

    async def newest(self, key: str, *, since_ms: int) -> Sequence[str]:
        """Return the sessions that a key was used with since then, the newest first."""
        ...

    async def open(
        self, device_id: str, session_id: str, message_id: str, *, now_ms: int, keep_ms: int
    ) -> None:
        """Record that an answer is wanted."""
        ...

    async def open_exchanges(self, device_id: str, session_id: str) -> Sequence[OpenExchange]:
        """Return the answers that a pair still wants, in the order of asking."""
        ...

    async def settle(self, told: Sequence[OpenExchange], closed: Sequence[str]) -> None:
        """Record how much of some answers was sent, and that others are complete."""
        ...


class AppKeys(Protocol):
    """Finds the device of a hash or an id; None if its key is no longer valid."""

    def find_hash(self, wanted: bytes) -> Device | None:
        """Return the device whose valid key has this hash."""
        ...

    def get(self, device_id: str) -> Device | None:
        """Return the device of this id."""
        ...


@attrs.frozen
class AppPorts:
    """The ports that only the iOS app's connections need. `new_id` makes message ids: the app has none."""

    pairs: AppPairs
    keys: AppKeys
    new_id: Ids


@attrs.frozen(kw_only=True)
class Deps:
    """The services of the rest of the server that a connection or a route uses.

    Attributes:
        aliases: replaces the ids of the iOS app.
        app: None if the iOS app is not served; its upgrades then get 503.
        services: the services of the HTTP routes; None if they are not served.
        tries: the limit of sign-in attempts.
        trail: records sign-ins and acts.
        nodes: the servers that share the database; None if this one does not share it.
        attention: who looks at which session.
        delays: how long what is committed takes to each device.
        on_taken: called with (session_id, seq) whenever a batch up to `seq` goes to a device. Must not block.
    """

    bus: CommandBus
    live: LiveBus
    catalog: Catalog
    journal: Journal
    devices: Devices
    watch: Watch
    clock: Clock
    aliases: Aliases
    attention: Attention
    trail: AuditTrail
    uploads: Uploads
    renderer: Renders
    app: AppPorts | None = None
    services: HttpServices | None = None
    on_taken: Callable[[str, int], None] = _ignore
    delays: DeviceDelays = attrs.field(factory=DeviceDelays)
    tries: SignInThrottle = attrs.field(factory=SignInThrottle)
    nodes: Nodes | None = None
