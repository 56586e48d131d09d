"""Whether an agent's program may load a folder's settings; asks a person if nobody has said so yet.

Called before every turn, so before every start of a program:

    nothing runs there ───────────────────────────────────────────────▶ may load
    trusted: agent's own records, `trusted_folders`, a device earlier ▶ may load
    else ask ─┬─ allow: the files are as they were shown ─▶ keep it ──▶ may load
              │         they changed meanwhile ───────────▶ ask again
              └─ deny, for this session ──────────────────────────────▶ must not

The agent has nothing of the message as long as this waits.
"""

from __future__ import annotations

import logging

import attrs
import trio

from bridgehub.agents.base import Sink
from bridgehub.agents.claude.settings import config_folder
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.trust.acp_files import find_acp
from bridgehub.trust.claude_files import find_claude
from bridgehub.trust.codex_files import find_codex
from bridgehub.trust.finding import Findings
from bridgehub.trust.records import (
    codex_home,
    is_kept,
    is_named,
    is_trusted_by_claude,
    is_trusted_by_codex,
    keep,
)

__all__ = ["Settled", "may_load", "settle"]

_log = logging.getLogger("builderos.bridgehub")


@attrs.frozen
class Settled:
    """What holds for the folder now; a program that was started under another word must be started again.

    Attributes:
        loads: whether the folder's settings may be loaded.
        digest: the state of its files; empty if nothing runs there.
        may_deny: whether the program can leave the settings out.
        environment: the variables that the folder sets.
    """

    loads: bool
    digest: str = ""
    environment: frozenset[str] = frozenset()
    may_deny: bool = True


async def settle(spec: HubSpec, sink: Sink, options: tuple[str, ...] | None = None) -> Settled:
    """Return whether the settings of the workspace may be loaded; wait for a person if need be.

    Args:
        spec: what the agent is started with; its kind says which files count.
        sink: whom to ask.
        options: what a person may answer; None: yes or no, and only yes for an agent that reads its own settings anyway.
    """
    while True:
        found = await trio.to_thread.run_sync(_find, spec)
        settled = Settled(True, found.digest, found.environment)
        if not found.runs or await trio.to_thread.run_sync(_is_trusted, spec, found):
            return settled
        offered = options or _options(spec, found)
        decided = await sink.ask_trust(spec.kind, found, offered)
        if decided.decision not in ("allow", "allow_session"):
            return attrs.evolve(settled, loads=False, may_deny="deny" in offered)
        if (await trio.to_thread.run_sync(_find, spec)).digest == found.digest:
            await trio.to_thread.run_sync(_keep, spec, found)
            return settled


def may_load(spec: HubSpec) -> bool:
    """Return whether the settings of the workspace may be loaded without a question. Blocking."""
    found = _find(spec)
    return not found.runs or _is_trusted(spec, found)


def _options(spec: HubSpec, found: Findings) -> tuple[str, ...]:
    reads_itself = spec.kind == "acp" and any(run.kind != "server" for run in found.runs)
    return ("allow",) if reads_itself else ("allow", "deny")


def _find(spec: HubSpec) -> Findings:
    match spec.kind:
        case "claude":
            return find_claude(spec.workspace, config_folder(spec.env), spec.counts_as)
        case "codex":
            return find_codex(spec.workspace, codex_home(spec.env), spec.counts_as)
        case "acp":
            return find_acp(spec)
    return _both(spec)


def _both(spec: HubSpec) -> Findings:
    """Return what either program would run: a relay of somebody's own may start any of them."""
    one = find_claude(spec.workspace, config_folder(spec.env), spec.counts_as)
    other = find_codex(spec.workspace, codex_home(spec.env), spec.counts_as)
    return Findings(
        one.folder, one.runs + other.runs, one.digest + other.digest, one.environment | other.environment
    )


def _is_trusted(spec: HubSpec, found: Findings) -> bool:
    if is_named(found.folder, spec.trusted_folders) or is_kept(spec.trust_store, spec.kind, found):
        return True
    if spec.kind == "claude":
        return is_trusted_by_claude(found.folder, spec.env)
    return spec.kind == "codex" and is_trusted_by_codex(found.folder, codex_home(spec.env))


def _keep(spec: HubSpec, found: Findings) -> None:
    if not spec.trust_store:
        return
    try:
        keep(spec.trust_store, spec.kind, found)
    except OSError as error:  # it holds for this program; the next one asks again
        _log.warning("the trust in a folder cannot be kept: %s", error.strerror)
