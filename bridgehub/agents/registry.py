"""The driver module of each kind of agent. Only a hub that needs a module imports it.

To add a kind, write a module with `make_driver(spec: HubSpec) -> AgentDriver` and name it here. `make_driver` is cheap
and does no I/O: the driver starts its agent with the first turn.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from bridgehub.agents.base import AgentDriver
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["AgentMissing", "make_driver", "preload"]

_MODULES = {
    "echo": "bridgehub.agents.echo",
    "claude": "bridgehub.agents.claude.driver",
    "codex": "bridgehub.agents.codex.driver",
    "acp": "bridgehub.agents.acp.driver",
    "bridgehub/1.0": "bridgehub.agents.relay.driver",
}

_IMPORTED_LATER = {"claude": "bridgehub.agents.claude.start"}
"""What a driver itself imports with its first turn: 0.6 s of processor time for Claude's SDK."""


class AgentMissing(Exception):
    """There is no driver of that kind, or a package that it needs is not installed. The text is for a person."""


def make_driver(spec: HubSpec) -> AgentDriver:
    """Return a driver of `spec.kind`. Raises AgentMissing."""
    name = _MODULES.get(spec.kind)
    if name is None:
        known = ", ".join(sorted(_MODULES))
        raise AgentMissing(f"there is no agent of kind {spec.kind!r}; known kinds: {known}")
    try:
        module = import_module(name)
    except ImportError as exc:
        missing = exc.name or name
        raise AgentMissing(
            f"agent {spec.agent!r} needs {missing!r}, which is not installed; "
            f"install builderos-mobile with the extra [{spec.kind}]"
        ) from exc
    return cast("AgentDriver", module.make_driver(spec))


def preload(kind: str) -> None:
    """Import all that an agent of this kind needs, for hubs that are forked later. Raises ImportError."""
    for name in (_MODULES.get(kind), _IMPORTED_LATER.get(kind)):
        if name is not None:
            import_module(name)
