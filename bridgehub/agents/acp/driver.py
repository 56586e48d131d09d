"""The `acp` driver: any agent that speaks the Agent Client Protocol, one warm program and one conversation a session.

`session` describes what a turn is and when a prompt counts as taken. `start` describes how a conversation is resumed.
Options of the agent's table: `command`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from time import monotonic
from typing import Any

import attrs
import trio

from bridgehub.agents.acp.known import known_of
from bridgehub.agents.acp.offer import AcpOffer
from bridgehub.agents.acp.prompt import make_prompt
from bridgehub.agents.acp.servers import workspace_servers
from bridgehub.agents.acp.session import AcpSession
from bridgehub.agents.acp.start import (
    Greeting,
    greet,
    new_session,
    open_program,
    take_up_session,
)
from bridgehub.agents.acp.terminals import Terminals
from bridgehub.agents.base import Sink, Tell, TurnEnd
from bridgehub.agents.errors import (
    BadOutput,
    CallRefused,
    NotResumed,
    NotSignedIn,
    ProgramError,
    ProgramExited,
    ProgramMissing,
    PromptNotTaken,
    WorkspaceGone,
)
from bridgehub.agents.json_rpc.marked import RUN
from bridgehub.agents.json_rpc.messages import Fields, Notification, ServerRequest
from bridgehub.agents.json_rpc.program import Program
from bridgehub.agents.text import history_text
from bridgehub.delegation.mcp import acp_servers, open_codex_turn
from bridgehub.delegation.tasks import Delegation
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import AgentOffered, Noticed, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import Prompt, Steer
from bridgehub.protocol.process_tree import MARKER
from bridgehub.trust.gate import Settled, settle

__all__ = ["AcpDriver", "make_driver"]

_log = logging.getLogger("builderos.bridgehub")

HISTORY_BYTES = 200 * 1024
"""Bytes of the session's history that a new conversation gets again."""


QUIET_S = 0.5
"""Seconds of silence after which an agent that repeats a conversation late counts as finished."""

YOUNG_S = 60.0
"""How long a conversation is in danger with an agent that `loses_young`, seconds."""

MAX_REPLAY_S = 10.0
"""How long to wait for such a replay, seconds."""


MAX_EARLY = 8
"""Conversations whose commands are kept before ours is known."""


class NotTrusted(ProgramError):
    """The folder has settings that the agent would load, and nobody has trusted them."""


def make_driver(spec: HubSpec) -> AcpDriver:
    """Return a driver that has started nothing yet."""
    return AcpDriver(spec, Delegation(spec))


@attrs.define(eq=False)
class AcpDriver:
    """One conversation of a session. If a turn finds that the program has ended, a new one resumes the conversation."""

    spec: HubSpec
    delegation: Delegation
    can_steer: bool = False
    _memory: dict[str, Any] = attrs.field(init=False)
    _wanted: Setup = attrs.field(init=False)
    _program: Program | None = None
    _session: AcpSession | None = None
    _terminals: Terminals | None = None
    _notes: list[str] = attrs.field(factory=list)
    _settled: Settled | None = None
    """The decision about the folder's settings with which the program was started."""
    _starting: trio.CancelScope | None = None
    _heard_at: float = -math.inf
    _early: dict[str, Notification] = attrs.field(factory=dict)
    """The newest commands of each conversation of the program that came before the answer with its id was read."""

    def __attrs_post_init__(self) -> None:
        self._wanted = Setup.of_spec(self.spec)
        self._memory = dict(self.spec.agent_memory or {})
        self.delegation.mode_now = self._mode_now

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends. See `AgentDriver`.

        After a cancelled turn the program must not be used again: close the driver.
        """
        self._wanted = prompt.setup or self._wanted
        end = await self._try(prompt, sink)
        if end is None:  # it had ended since the last turn, which shows only now
            end = await self._try(prompt, sink)
        if end is None:
            error = ProgramExited(f"{self.spec.agent} ended twice before it took the message.")
            end = self._failed(prompt.turn_id, error)
        if isinstance(end, TurnFailed) and end.code != "model_error":
            await self.aclose()  # so that the next turn finds what was fixed meanwhile
        return end

    async def warm_up(self, prompt: Prompt, sink: Sink) -> None:
        """Start the program on the session's conversation. See `Warmable`."""
        self._wanted = prompt.setup or self._wanted
        await self._ensure_session(prompt, sink)

    async def configure(self, setup: Setup, tell: Tell) -> None:
        """Apply the settings at once if the program runs, else with the next turn."""
        self._wanted = setup
        session = self._session
        if session is None or not session.usable:
            await trio.lowlevel.checkpoint()
            return
        await session.set_up(setup, tell, None)
        await tell(AgentOffered(None, session.offer.told()))

    async def after_turn(self, tell: Tell) -> None:
        """Do nothing: the agent reports its figures in its turns."""
        await trio.lowlevel.checkpoint()

    async def wait_own_work(self, tell: Tell) -> None:
        """Report changes of commands, modes and options until cancelled. See `Overheard`."""
        if self._session is None:
            await trio.sleep_forever()
        else:
            await self._session.tell_idle(tell)

    async def steer(self, steer: Steer) -> bool:
        """Refuse: the protocol has no way to give a running turn one more message."""
        await trio.lowlevel.checkpoint()
        return False

    async def interrupt(self) -> None:
        """Ask the agent to stop its turn, or abandon the start of a program that is not ready yet."""
        if self._starting is not None:
            self._starting.cancel(reason="the turn was interrupted")
        elif self._session is not None:
            await self._session.interrupt()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End the agent's process, its commands and what they started. Idempotent."""
        program, self._program, self._session = self._program, None, None
        terminals, self._terminals = self._terminals, None
        try:
            if terminals is not None:
                await terminals.aclose()
        finally:
            if program is not None:
                await program.aclose()
        await trio.lowlevel.checkpoint()

    async def _try(self, prompt: Prompt, sink: Sink) -> TurnEnd | None:
        """Run the turn. None if the program ended before it had the prompt."""
        end: TurnEnd | None = None
        try:
            end = await self._run(prompt, sink)
        except* PromptNotTaken:
            await self.aclose()
        except* ProgramError as group:
            end = self._failed(prompt.turn_id, unwrap(group))
        return end

    async def _run(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        context: str | None = None
        with trio.CancelScope() as starting:
            self._starting = starting
            try:
                context = await self._ensure_session(prompt, sink)
                await sink.work_saved()
            finally:
                self._starting = None
        session = self._session
        if starting.cancel_called or session is None:
            if starting.cancelled_caught:
                await self.aclose()
            return TurnDone(prompt.turn_id)
        earlier = "\n\n".join(part for part in (context, *self._notes) if part)
        self._notes.clear()
        blocks = await trio.to_thread.run_sync(
            make_prompt, prompt.content, prompt.attachments, session.greeting, earlier
        )
        async with open_codex_turn(self.delegation, prompt.turn_id, sink):
            return await session.run_turn(prompt.turn_id, blocks, sink)

    async def _ensure_session(self, prompt: Prompt, sink: Sink) -> str:
        """Make sure that a program runs on the session's conversation. Return what a new conversation must get first.

        Raises:
            ProgramError: the program cannot start or cannot open the conversation.
        """
        is_new = False
        settled = await settle(self.spec, sink)
        if not settled.loads and not settled.may_deny:
            raise NotTrusted(
                f"{self.spec.agent} was not started: nobody trusted the folder, whose settings it cannot leave out."
            )
        if self._session is None or not self._session.usable or settled != self._settled:
            self._settled = settled
            known = self._memory.get("session_id")
            is_new = await self._open_session(sink, known if isinstance(known, str) else None)
        session = self._session
        assert session is not None, "it was just opened"
        await session.set_up(self._wanted, sink.emit, prompt.turn_id)
        await sink.emit(AgentOffered(None, session.offer.told()))
        if not is_new or not prompt.taken_before:
            return ""
        history = await sink.history(HISTORY_BYTES)
        if not history.messages:
            return ""
        told = f"{self.spec.agent} could not resume the earlier conversation; it is given the messages again."
        await sink.emit(Noticed(prompt.turn_id, "context_given_again", told))
        return history_text(history)

    async def _open_session(self, sink: Sink, known: str | None) -> bool:
        """Start a program and its conversation. Return whether the conversation is new."""
        await self.aclose()
        run_id = f"{self.spec.hub_id}/{sink.new_id()}"
        program = self._program = await open_program(self.spec, run_id, self._hear_idle)
        env = {**self.spec.env, MARKER: self.spec.hub_id, RUN: run_id}
        terminals = self._terminals = Terminals(env)
        greeting = await greet(program, self.spec)
        servers = acp_servers(self.delegation)
        if self._settled is not None and self._settled.loads and self._settled.digest:
            servers += await trio.to_thread.run_sync(workspace_servers, self.spec, greeting)
        told = None
        if known is not None and not self._would_lose():
            told = await take_up_session(program, self.spec, greeting, servers, known)
            await self._hear_out(greeting)
        is_new, session_id = told is None, known or ""
        if told is None:
            session_id, told = await new_session(program, self.spec, greeting, servers)
        offer = _offer(told, greeting, None if is_new else self._memory.get("defaults"))
        session = AcpSession(self.spec, program, session_id, greeting, offer, terminals, self._notes)
        if session_id in self._early:
            session.hear_idle(self._early[session_id])
        self._session = session
        self._early.clear()
        if is_new:
            self._memory = {
                "session_id": session_id,
                "defaults": dict(offer.defaults),
                "began_s": monotonic(),
            }
            await sink.remember(self._memory)
        return is_new

    def _would_lose(self) -> bool:
        """Return whether the agent would lose the conversation if it loaded it now."""
        agent, began_s = known_of(self.spec.options["command"]), self._memory.get("began_s")
        is_young = isinstance(began_s, float) and 0 <= monotonic() - began_s < YOUNG_S
        return agent is not None and agent.loses_young and is_young

    async def _hear_out(self, greeting: Greeting) -> None:
        """Wait while an agent repeats the conversation that it has just loaded, before a turn listens to it."""
        known = known_of(self.spec.options["command"])
        await trio.lowlevel.checkpoint()
        if known is None or not known.repeats_late or greeting.resumes:
            return
        self._heard_at = trio.current_time()
        with trio.move_on_after(MAX_REPLAY_S):  # noqa: ASYNC912 - sleeps
            while (left_s := self._heard_at + QUIET_S - trio.current_time()) > 0:  # noqa: ASYNC110 - it moves
                await trio.sleep(left_s)

    def _mode_now(self) -> str | None:
        """Return the mode. It is `plan` for any mode of the agent in which it changes nothing."""
        mode, session = self._wanted.permission_mode, self._session
        is_plan = session is not None and session.offer.kind_of(mode) == "plan"
        return "plan" if is_plan else mode

    def _hear_idle(self, message: Notification | ServerRequest) -> Mapping[str, Any] | None:
        session = self._session
        self._heard_at = trio.current_time()
        if session is not None:
            return session.hear_idle(message)
        if isinstance(message, Notification):
            kind, about = (
                message.params.inner("update").text("sessionUpdate"),
                message.params.text("sessionId"),
            )
            if kind == "available_commands_update" and (about in self._early or len(self._early) < MAX_EARLY):
                self._early[about] = message
        return None

    def _failed(self, turn_id: str, error: BaseException) -> TurnFailed:
        name = self.spec.agent
        match error:
            case ProgramMissing():
                return TurnFailed(turn_id, "not_installed", str(error), retryable=False)
            case NotSignedIn():
                return TurnFailed(turn_id, "not_signed_in", str(error), retryable=False)
            case BadOutput():
                told = f"{name} sent something that is not its protocol: {error}."
                return TurnFailed(turn_id, "agent_protocol", told, retryable=True)
            case CallRefused():
                told = f"{name} refused what it was asked: {error}"
                return TurnFailed(turn_id, "agent_exited", told[:4096], retryable=False)
            case NotResumed():
                return TurnFailed(turn_id, "agent_exited", str(error), retryable=True, ways=("renew",))
            case NotTrusted():
                return TurnFailed(turn_id, "agent_exited", str(error), retryable=True)
            case WorkspaceGone():
                return TurnFailed(turn_id, "agent_exited", str(error), retryable=False)
        return TurnFailed(turn_id, "agent_exited", str(error), retryable=True)


def _offer(told: Fields, greeting: Greeting, defaults: Any) -> AcpOffer:
    can = ("images",) if greeting.takes("image") else ()
    offer = AcpOffer(can=can)
    offer.read_session(told)
    offer.note_defaults(defaults if isinstance(defaults, dict) else None)
    return offer
