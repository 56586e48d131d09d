"""`builderos bridgehub --request JSON`: answers like the old relay, by one of our agents, in this process.

Prints one line on stdout. The exit status is 0 whether the agent answered or not; the line contains the failure. The
agent's driver runs as in a hub, but no person can be asked: anything that its permission mode does not allow is denied.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.agents.base import TurnEnd
from bridgehub.agents.registry import AgentMissing, make_driver
from bridgehub.agents.request_words import RequestWords
from bridgehub.masking import Masker, MaskingFormatter
from bridgehub.orphans import adopt_orphans
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import BlockDropped, HubEvent, Noticed, TextPiece, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Decided, History, Prompt
from bridgehub.protocol.process_tree import MARKER, TreeKillFailed, kill_descendants
from bridgehub.trust.finding import Findings
from builderos.client.terminal import write_json
from builderos.config import Agent, BridgeHubAgent, ConfigError, load_config
from builderos.exit_status import FAILED, MISUSED, OK, fail
from builderos.ids import new_id
from builderos.legacy.relay import InvalidPayload, Request, answered, decode_request, refused
from builderos.options import as_path
from builderos.server.hub_specs import TRUST_NAME, agent_environment, agent_options

__all__ = ["add_bridgehub", "run_bridgehub"]

_log = logging.getLogger("builderos.commands.bridgehub")

CLOSE_S = 3.0
"""How long the agent may take to end; after that it is killed."""

KILL_S = 12.0
"""How long a kill may take; only the wait for processes that cannot be killed is cut short."""

MAX_LOGS = 100
"""Notices that the answer repeats."""

_NOBODY = "Nobody can be asked here, so only actions that need no permission are possible."


def run_bridgehub(text: str, config_path: Path | None, data: Path) -> int:
    """Answer one request on stdout; return the exit status. `data`: the folder with the trust that devices gave."""
    try:
        config = load_config(config_path)
    except ConfigError as error:
        return fail(str(error), MISUSED)
    try:
        request = decode_request(text)
        workspace = _workspace(request)
    except InvalidPayload as error:
        return _say(refused("invalid_payload", str(error)))
    agent = config.agents[request.agent]
    if isinstance(agent, BridgeHubAgent):
        # It might be this very command, which would start processes without end.
        return _say(refused("not_configured", f"agent {request.agent!r} is itself a relay"))
    with tempfile.TemporaryDirectory(prefix="builderos-") as folder:
        spec = attrs.evolve(
            _make_spec(request, agent, workspace, folder),
            trust_store=str(data / TRUST_NAME),
            trusted_folders=config.trusted_folders,
        )
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(MaskingFormatter(logging.BASIC_FORMAT, Masker.of_spec(spec)))
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        line = trio.run(_answer, request, spec)
    if line is None:
        return fail("stopped by a signal before there was an answer", FAILED)
    return _say(line)


def _say(line: str) -> int:
    write_json(line)
    sys.stdout.flush()
    return OK


def _workspace(request: Request) -> str:
    """Return the folder where the agent works. Without a fallback: an agent in the wrong folder is worse than none."""
    if request.capsule is None:
        return os.getcwd()
    if not Path(request.capsule).is_dir():
        raise InvalidPayload("capsule is not a folder on this machine")
    return os.path.abspath(request.capsule)


def _make_spec(request: Request, agent: Agent, workspace: str, folder: str) -> HubSpec:
    """Return the driver's spec; this process takes over the agent's environment, as a hub does.

    If a hub's agent called this command, its marker stays, so that ending that hub ends this process too.
    """
    env = {**agent_environment(os.environ), **agent.env}
    hub_id = os.environ.get(MARKER) or new_id()
    os.environ.clear()
    os.environ.update({**env, MARKER: hub_id})
    return HubSpec(
        hub_id=hub_id,
        session_id=request.session,
        agent=request.agent,
        kind=agent.kind,
        folder=folder,
        socket=f"{folder}/s",
        workspace=workspace,
        env=env,
        options=agent_options(agent),
        agent_session_id=str(uuid.uuid5(uuid.NAMESPACE_OID, new_id())),
        own_env=tuple(agent.env),
        blob_folder=folder,
    )


@attrs.define(eq=False)
class _CapturingSink:
    """The driver's sink: keeps the answer's text, and denies every request."""

    turn_id: str
    masker: Masker
    logs: list[str] = attrs.field(factory=list)
    _blocks: dict[str, list[str]] = attrs.field(factory=dict)
    _ids: int = 0

    @property
    def output(self) -> str:
        return "".join(text for block in self._blocks.values() for text in block)

    async def emit(self, event: HubEvent) -> None:
        match event:
            case TextPiece(channel="text"):
                self._blocks.setdefault(event.block, []).append(event.text)
            case BlockDropped():
                self._blocks.pop(event.block, None)
            case Noticed() if len(self.logs) < MAX_LOGS:
                self.logs.append(self.masker.text(event.content))
        await trio.lowlevel.checkpoint()

    async def ask(
        self,
        tool: str,
        tool_input: object,
        questions: object = None,
        *,
        grant: str | None = None,
        task_id: str | None = None,
        words: RequestWords | None = None,
    ) -> Decided:
        await trio.lowlevel.checkpoint()
        if len(self.logs) < MAX_LOGS:
            self.logs.append(f"{tool} was denied: {_NOBODY}")
        return Decided(self.new_id(), "deny", note=_NOBODY)

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        await trio.lowlevel.checkpoint()
        if len(self.logs) < MAX_LOGS:
            self.logs.append(
                f"The settings of {found.folder} were not loaded: the folder is not trusted. {_NOBODY}"
            )
        return Decided(self.new_id(), "deny")

    async def history(self, limit_bytes: int) -> History:
        await trio.lowlevel.checkpoint()
        return History(self.turn_id, ())

    async def remember(self, data: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()

    async def tell_withdrawn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def work_saved(self) -> None:
        """Nothing is saved here: nobody could take anything back."""
        await trio.lowlevel.checkpoint()

    def new_id(self) -> str:
        self._ids += 1
        return f"{self.turn_id}-{self._ids}"


async def _answer(request: Request, spec: HubSpec) -> str | None:
    """Run the turn; return the line, or None if a signal came first."""
    adopt_orphans()
    line: str | None = None
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, signals, nursery.cancel_scope)
            line = await _run(request, spec)
            nursery.cancel_scope.cancel(reason="there is an answer")
    return line


async def _end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel(reason="a signal came")


async def _run(request: Request, spec: HubSpec) -> str:
    prompt = Prompt(new_id(), new_id(), request.prompt, 0)
    masker = Masker.of_spec(spec)
    ear = _CapturingSink(prompt.turn_id, masker)
    try:
        driver = make_driver(spec)
    except AgentMissing as error:
        await trio.lowlevel.checkpoint()
        return refused("not_installed", str(error))
    end: TurnEnd | None = None
    try:
        end = await driver.run_turn(prompt, ear)
    except* Exception as group:
        _log.exception("driver %s: failed", spec.agent)
        end = TurnFailed(prompt.turn_id, "agent_exited", type(unwrap(group)).__name__, retryable=True)
    finally:
        # A signal may have arrived. When KILL_S is over, processes that cannot be killed are left behind.
        with trio.move_on_after(KILL_S, shield=True):
            await _put_away(driver.aclose)
    if isinstance(end, TurnDone):
        return answered(request, ear.output, ear.logs)
    if not isinstance(end, TurnFailed):
        return refused("agent_exited", "the turn was stopped")
    return refused(end.code, masker.text(end.content))


async def _put_away(aclose: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_kill_late)
        try:
            await aclose()
        except* Exception:
            _log.exception("agent: did not close cleanly")
        nursery.cancel_scope.cancel(reason="the agent has closed")
    await trio.to_thread.run_sync(_kill, abandon_on_cancel=True)


async def _kill_late() -> None:
    await trio.sleep(CLOSE_S)
    await trio.to_thread.run_sync(_kill, abandon_on_cancel=True)


def _kill() -> None:
    """End all processes below this one. Found by parent only: the marker may be that of the hub above."""
    with suppress(TreeKillFailed):
        kill_descendants(new_id())


def add_bridgehub(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bridgehub`."""
    parser.description = (
        "Prints one line JARVIS_PAYLOAD=… and ends with exit status 0, even if the line reports a failure. "
        "Needs no server; nothing is kept in the data folder."
    )
    parser.add_argument("--config", type=as_path, metavar="FILE", help="the server's config file")
    parser.add_argument("--request", required=True, metavar="JSON", help="the call")
    parser.set_defaults(run=_run_options)


def _run_options(arguments: argparse.Namespace) -> int:
    return run_bridgehub(arguments.request, arguments.config, arguments.data)
