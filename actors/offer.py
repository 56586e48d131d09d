"""What an agent offers: its models, modes, commands, and what it can do (PROTOCOL section 8). Pure.

It comes from a hub as JSON, is kept as JSON, and goes to devices. Whatever made it, it is cut here to what a frame and a
person can take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar, cast, get_args

import attrs
import orjson

__all__ = [
    "BYPASS_CHOSEN",
    "MODE_RANKS",
    "NO_OFFER",
    "AgentCommand",
    "McpServer",
    "Mode",
    "ModeKind",
    "Model",
    "Offer",
    "decode_offer",
    "encode_offer",
    "read_offer",
    "refusal_of",
]

ModeKind = Literal["plan", "ask", "edits", "auto", "bypass"]

MODE_RANKS: dict[str, int] = {kind: rank for rank, kind in enumerate(get_args(ModeKind))}
"""How much an agent may do unasked, from least to most."""

MAX_MODELS = 100
MAX_MODES = 20
MAX_COMMANDS = 300
MAX_SERVERS = 100
MAX_WORDS = 32
MAX_TEXT_CHARS = 500
MAX_OFFER_BYTES = 480 * 1024
"""JSON of an offer; a frame is at most 512 KiB. Of a longer one the commands go."""

BYPASS_NAMES = frozenset({"bypassPermissions", "danger-full-access", "never", "bypass"})
"""Modes that never ask, by the names that our agents have for them: what counts before an agent has reported its modes."""

PLAN_NAME = "plan"
"""The mode in which an agent only plans, by the name that all our agents have for it. It counts as early."""

BYPASS_CHOSEN: Final = "bypass_chosen"
"""The audit's word for the choice of a mode that never asks."""

T = TypeVar("T")


@attrs.frozen
class Model:
    """One model. `efforts`: the words for how hard it thinks, empty if it has none."""

    id: str
    name: str = ""
    description: str = ""
    efforts: tuple[str, ...] = ()
    default: bool = False


@attrs.frozen
class Mode:
    """One permission mode; `kind` is the same word for every agent."""

    id: str
    kind: ModeKind
    name: str = ""
    description: str = ""


@attrs.frozen
class AgentCommand:
    """A command that a person may type as a message, without its slash."""

    name: str
    description: str = ""
    argument_hint: str = ""


@attrs.frozen
class McpServer:
    """A server of tools, by name alone: its configuration holds secrets."""

    name: str
    status: str = ""
    error: str | None = None


@attrs.frozen
class Offer:
    """All that an agent offers. Empty before it was ever asked.

    Attributes:
        applies: for each setting `now` or `next_turn`: when a change of it counts.
        can: words for what else the agent can do.
        truncated: whether a list was cut.
    """

    models: tuple[Model, ...] = ()
    modes: tuple[Mode, ...] = ()
    commands: tuple[AgentCommand, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    applies: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    can: tuple[str, ...] = ()
    truncated: bool = False

    def kind_of(self, mode: str | None) -> ModeKind | None:
        """Return what kind of mode this is; None for the agent's default or one that nobody knows."""
        if mode is None:
            return None
        found = next((one.kind for one in self.modes if one.id == mode), None)
        if found is None and mode == PLAN_NAME:
            return "plan"
        return "bypass" if found is None and mode in BYPASS_NAMES else found

    def fault_of(self, name: str, value: str | None, model: str | None) -> str | None:
        """Return why a setting cannot have that value, for a person; None if it can, or if nobody can tell.

        `model`: the model that the session has along with it.
        """
        if value is None:
            return None
        known: tuple[str, ...] = ()
        if name == "model":
            known = tuple(one.id for one in self.models)
        elif name == "permission_mode":
            known = tuple(one.id for one in self.modes)
        elif name == "effort":
            known = self._efforts(model)
        if not known or value in known:
            return None
        return f"{name} {value[:100]!r} is none of {', '.join(known[:20])}"

    def _efforts(self, model: str | None) -> tuple[str, ...]:
        chosen = next((one for one in self.models if one.id == model), None)
        if model is None:
            chosen = next((one for one in self.models if one.default), None)
        if chosen is not None:
            return chosen.efforts
        return tuple(dict.fromkeys(word for one in self.models for word in one.efforts))


NO_OFFER = Offer()
"""What is known of an agent that was never asked."""


def refusal_of(
    offer: Offer, changes: Mapping[str, str | None], model: str | None, *, allows_bypass: bool
) -> tuple[Literal["bad_setting", "bypass_disabled"], str] | None:
    """Return why settings cannot be so, None if they can. `model`: the session's, if they name none."""
    model = changes.get("model", model)
    for name, value in changes.items():
        fault = offer.fault_of(name, value, model)
        if fault is not None:
            return "bad_setting", fault
    if offer.kind_of(changes.get("permission_mode")) == "bypass" and not allows_bypass:
        return "bypass_disabled", "a mode that never asks needs `allow_bypass = true` in the agent's table"
    return None


def read_offer(raw: object) -> Offer:
    """Return the offer in a hub's JSON: what is wrong in it is left out, what is too much is cut."""
    given = raw if isinstance(raw, dict) else {}
    cut: list[str] = ["told"] if given.get("truncated") is True else []

    def each(name: str, limit: int, read: Callable[[dict[str, Any]], T | None]) -> tuple[T, ...]:
        items = given.get(name)
        found = [read(one) for one in items if isinstance(one, dict)] if isinstance(items, list) else []
        known = [one for one in found if one is not None]
        if len(known) > limit:
            cut.append(name)
        return tuple(known[:limit])

    applies = given.get("applies")
    offer = Offer(
        each("models", MAX_MODELS, _model),
        each("modes", MAX_MODES, _mode),
        each("commands", MAX_COMMANDS, _command),
        each("mcp_servers", MAX_SERVERS, _server),
        {
            name: "now" if isinstance(applies, dict) and applies.get(name) == "now" else "next_turn"
            for name in ("model", "permission_mode", "effort")
        },
        _words(given.get("can")),
    )
    if len(encode_offer(offer)) > MAX_OFFER_BYTES:
        cut.append("commands")
        offer = attrs.evolve(offer, commands=())
    return attrs.evolve(offer, truncated=bool(cut))


def encode_offer(offer: Offer) -> bytes:
    """Return an offer as storage keeps it and as a frame shows it."""
    return orjson.dumps(attrs.asdict(offer))


@lru_cache(maxsize=16)
def decode_offer(payload: bytes) -> Offer:
    """Return the offer that `encode_offer` wrote. Sessions of one agent share it."""
    return read_offer(orjson.loads(payload))


def _model(one: dict[str, Any]) -> Model | None:
    name = _text(one.get("id"))
    return (
        Model(
            name,
            _text(one.get("name")),
            _text(one.get("description")),
            _words(one.get("efforts")),
            one.get("default") is True,
        )
        if name
        else None
    )


def _mode(one: dict[str, Any]) -> Mode | None:
    name, kind = _text(one.get("id")), one.get("kind")
    if not name or kind not in MODE_RANKS:
        return None
    return Mode(name, cast("ModeKind", kind), _text(one.get("name")), _text(one.get("description")))


def _command(one: dict[str, Any]) -> AgentCommand | None:
    name = _text(one.get("name"))
    if not name:
        return None
    return AgentCommand(name, _text(one.get("description")), _text(one.get("argument_hint")))


def _server(one: dict[str, Any]) -> McpServer | None:
    name = _text(one.get("name"))
    error = one.get("error")
    told = _text(error) if isinstance(error, str) else None
    return McpServer(name, _text(one.get("status")), told) if name else None


def _words(given: object) -> tuple[str, ...]:
    return tuple(_text(one) for one in given[:MAX_WORDS] if _text(one)) if isinstance(given, list) else ()


def _text(given: object) -> str:
    return given[:MAX_TEXT_CHARS] if isinstance(given, str) else ""
