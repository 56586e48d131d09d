"""The `claude` driver: Claude Code through the Claude Agent SDK, one warm program per session.

The SDK is heavy and optional. So it is loaded on a thread with the first turn, and only in a hub that drives Claude.
`session`, `events` and `outcome` describe what a turn is and how its messages translate. `start` describes which
conversation the turn belongs to. If settings have been edited since the program read them, it is replaced before the
next turn (`settings`). If it does not know the session's earlier turns, it gets them in front of the next prompt.

Options of the agent's table: `permission_mode` and `model`, which the session's own settings override, and `cli_path`,
a Claude Code program to use instead of the SDK's.
"""

from __future__ import annotations

import importlib
import logging
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bridgehub.agents.base import Sink, Tell, TurnEnd, refused_at_once
from bridgehub.agents.claude.memory import Memory
from bridgehub.agents.claude.prompt import attached_paths, history_text, make_content
from bridgehub.agents.claude.settings import Stamp, read_stamp
from bridgehub.agents.errors import ClaudeBadOutput, ClaudeExited, ClaudeMissing, PromptNotSent
from bridgehub.delegation.tasks import Delegation
from bridgehub.protocol.events import AgentOffered, Gauged, Noticed, TaskEnded, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import Prompt, Steer
from bridgehub.trust.gate import Settled, settle

if TYPE_CHECKING:
    from bridgehub.agents.claude.session import ClaudeSession

from bridgehub.protocol.errors import unwrap

__all__ = ["ClaudeDriver", "make_driver"]

logger = logging.getLogger("builderos.bridgehub")

_PACKAGE = "claude_agent_sdk"

_PROGRAM_GONE = ("agent_exited", "agent_protocol")
"""Ends of a turn after which the program no longer runs."""

HISTORY_BYTES = 200_000
"""Bytes of the session's history that a program without memory gets again: about 50,000 tokens."""

_NOT_INSTALLED = (
    "The Claude agent is not installed. Run `make install` in the checkout, "
    "or `pip install 'builderos-mobile[claude]'`, and send the message again."
)


def make_driver(spec: HubSpec) -> ClaudeDriver:
    """Return a driver that has started nothing yet."""
    return ClaudeDriver(spec, Delegation(spec))


@attrs.define(eq=False)
class ClaudeDriver:
    """Drives one program. If a turn finds that the program has ended, a new one resumes the conversation."""

    spec: HubSpec
    delegation: Delegation
    can_steer: bool = True
    _module: ModuleType | None = None
    _session: ClaudeSession | None = None
    _starting: trio.CancelScope | None = None
    _began: trio.Event = attrs.field(factory=trio.Event)
    """Set while a program has this turn's prompt."""
    _memory: Memory = attrs.field(init=False)
    _wanted: Setup = attrs.field(init=False)
    _readable: set[str] = attrs.field(factory=set)
    _stamp: Stamp = frozenset()
    """The state of the settings and instructions that the running program has read."""
    _settled: Settled | None = None
    """The decision about the folder's settings with which the program was started."""
    _owes_history: bool = False
    _has_past: bool = False
    """Whether the conversation already has an answer."""
    _earlier: str = ""

    def __attrs_post_init__(self) -> None:
        self._memory = Memory.of(self.spec.agent_memory)
        self._wanted = Setup.of_spec(self.spec)
        self.delegation.mode_now = self._mode_now

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends. See `AgentDriver`.

        After a cancelled turn the program must not be used again: close the driver.
        """
        await trio.lowlevel.checkpoint()
        if prompt.setup is not None:
            self._wanted = prompt.setup
        try:
            self._module = self._module or await _load()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != _PACKAGE:
                raise
            return TurnFailed(prompt.turn_id, "not_installed", _NOT_INSTALLED, retryable=False)
        await self._remember(self._memory.with_files(attached_paths(prompt.attachments)), sink)
        self._readable.update(attached_paths(prompt.attachments))
        try:
            end = await self._try(self._module, prompt, sink)
            if end is None:
                end = await self._try(self._module, prompt, sink)
        finally:
            self._began = trio.Event()
        return self._judged(end) or _exited(
            prompt.turn_id, "Claude Code ended twice before it took the message."
        )

    async def configure(self, setup: Setup, tell: Tell) -> None:
        """Change what the running program can change at once. The next turn does the rest. See `AgentDriver`."""
        self._wanted = setup
        if self._session is None or self._starting is not None:
            await trio.lowlevel.checkpoint()
            return
        for told in await self._session.switches.bring(setup):
            await tell(told)
        if self._has_past:
            await self._session.switches.call_session(setup.title)

    async def warm_up(self, prompt: Prompt, sink: Sink) -> None:
        """Start the program. See `Warmable`."""
        self._wanted = prompt.setup or self._wanted
        self._module = self._module or await _load()
        with trio.CancelScope() as self._starting:
            failed = await self._ensure_session(self._module, prompt, sink)
        self._starting = None
        if failed is not None:
            raise ClaudeExited(failed.content)

    async def wait_own_work(self, tell: Tell) -> None:
        """Report what happens between two turns. Return once Claude Code begins something by itself."""
        if self._session is not None:
            try:
                await self._session.wait_own_work(tell)
            except (ClaudeExited, ClaudeBadOutput) as error:
                logger.info("between two turns: %s", error)
            else:
                return
            await self._lose(tell)
        await trio.sleep_forever()

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnEnd:
        """Report what Claude Code does by itself until it is done. See `SelfStarter`."""
        session = self._session
        assert session is not None, "only a program that is up begins by itself"
        ended: TurnEnd | None = None
        try:
            async with self.delegation.open_turn(turn_id, sink):
                ended = await session.run_own_turn(turn_id, sink)
        except* ClaudeExited as group:
            ended = _exited(turn_id, str(unwrap(group)))
        except* ClaudeBadOutput as group:
            ended = _unreadable(turn_id, unwrap(group))
        assert ended is not None
        if session.is_stale or (isinstance(ended, TurnFailed) and ended.code in _PROGRAM_GONE):
            await self._lose(sink.emit)
        return ended

    async def stop_task(self, task_id: str, tell: Tell) -> None:
        """End a background command. The program reports its end separately. See `SelfStarter`.

        Scheduled work ends with the program: at once, or when the running turn ends.
        """
        session = self._session
        if session is None or task_id not in session.background.timers:
            if session is not None:
                await session.stop_task(task_id)
            await trio.lowlevel.checkpoint()
        elif session.is_in_turn:
            session.is_stale = True
            await trio.lowlevel.checkpoint()
        else:
            await self._lose(tell)

    async def after_turn(self, tell: Tell) -> None:
        """Report how full the context is, what the conversation cost, and the person's limits."""
        if self._session is None or self._starting is not None:
            await trio.lowlevel.checkpoint()
            return
        session = self._session
        told = await session.look_at_gauge()
        if told:
            await tell(Gauged(None, told))
        await session.switches.call_session(self._wanted.title)

    async def steer(self, steer: Steer) -> bool:
        """Give the running turn one more message. Return whether the program took it. See `steering`.

        Raises ClaudeExited: the turn broke, and it is unknown whether the program took the message.
        """
        await self._began.wait()
        if self._session is None:
            return False
        self._readable.update(attached_paths(steer.attachments))
        content = await make_content(steer.content, steer.attachments)
        return await self._session.steer(steer.turn_id, steer.message_id, content)

    async def interrupt(self) -> None:
        """Ask the agent to stop its turn, or abandon the start of a program that is not ready yet."""
        if self._starting is not None:
            self._starting.cancel(reason="the turn was interrupted")
        elif self._session is not None:
            await self._session.interrupt()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End the agent's process. Idempotent."""
        session, self._session = self._session, None
        if session is None:
            await trio.lowlevel.checkpoint()
        else:
            await session.aclose()

    async def _lose(self, tell: Tell) -> None:
        """End the program, and report that its background work has ended."""
        session = self._session
        await self.aclose()
        for task_id in () if session is None else session.background.holds:
            await tell(TaskEnded(None, task_id, "cancelled"))

    async def _try(self, module: Any, prompt: Prompt, sink: Sink) -> TurnEnd | None:
        """Run the turn. None if the program had ended in the meantime and the prompt was not sent."""
        failed: TurnFailed | None = None
        with trio.CancelScope() as starting:
            self._starting = starting
            failed = await self._ensure_session(module, prompt, sink)
            if failed is None:
                await self._bring_settings(sink)
            if failed is None and self._owes_history:
                await self._fetch_history(prompt, sink)
        self._starting = None
        if starting.cancel_called:
            return TurnDone(prompt.turn_id)
        return failed or await self._run(prompt, sink)

    async def _bring_settings(self, sink: Sink) -> None:
        """Apply the session's settings to the program."""
        assert self._session is not None
        try:
            refused = await self._session.switches.bring(self._wanted)
        except Exception as error:  # the SDK has no class of its own for a program that has ended
            logger.info("the settings were not taken: %s", type(error).__name__)
            return  # sending the prompt finds out whether it has ended
        for told in refused:
            await sink.emit(told)

    async def _ensure_session(self, module: Any, prompt: Prompt, sink: Sink) -> TurnFailed | None:
        """Make sure that a program runs. Return the turn's end if that fails."""
        settled = await settle(self.spec, sink)
        stamp = await trio.to_thread.run_sync(read_stamp, self.spec.workspace, self.spec.env)
        session, known = self._session, (self._stamp, self._settled)
        if session is not None and ((stamp, settled) == known or session.background.holds):
            return None  # its background work is worth more than settings that were edited since
        await self._lose(sink.emit)
        self._stamp, self._settled = stamp, settled
        if not await trio.Path(self.spec.workspace).is_dir():
            told = f"The workspace {self.spec.workspace} no longer exists."
            return TurnFailed(prompt.turn_id, "agent_exited", told, retryable=False)
        memory = self._memory
        try:
            setup = module.ClaudeSetup(
                memory.is_cleared, memory.folders, self._readable, self.delegation, settled, memory.fork
            )
            setup = attrs.evolve(setup, native=memory.native)
            self._session, is_new = await module.open_session(self._spec_now(), setup)
            await sink.emit(AgentOffered(None, self._session.switches.offer.told()))
        except ClaudeMissing as error:
            told = (
                f"There is no Claude Code program at {error}. Fix `cli_path` of the agent. {_NOT_INSTALLED}"
            )
            return TurnFailed(prompt.turn_id, "not_installed", told, retryable=False)
        except ClaudeExited as error:
            return _exited(prompt.turn_id, str(error))
        except ClaudeBadOutput as error:
            return _unreadable(prompt.turn_id, error)
        self._has_past |= not is_new
        self._owes_history = is_new and prompt.taken_before > 0 and not memory.is_cleared
        return None

    def _mode_now(self) -> str | None:
        return self._wanted.permission_mode if self._session is None else self._session.switches.mode

    def _judged(self, end: TurnEnd | None) -> TurnEnd | None:
        judged = refused_at_once(end, has_past=self._has_past)
        self._has_past |= isinstance(end, TurnDone)
        return judged

    def _spec_now(self) -> HubSpec:
        wanted = self._wanted
        return attrs.evolve(self.spec, model=wanted.model, permission_mode=wanted.permission_mode)

    async def _fetch_history(self, prompt: Prompt, sink: Sink) -> None:
        """Put what was said before in front of the prompt. A command of the program takes no history."""
        if prompt.content.startswith("/"):
            return
        history = await sink.history(HISTORY_BYTES)
        self._owes_history, self._earlier = False, history_text(history)
        if not self._earlier:
            told = "Claude Code could not resume the earlier conversation and started a new one."
            await sink.emit(Noticed(prompt.turn_id, "context_lost", told))
            return
        left_out = f" The {history.left_out} oldest messages did not fit." if history.left_out else ""
        told = f"Claude Code had lost the earlier conversation; it was given the messages again.{left_out}"
        await sink.emit(Noticed(prompt.turn_id, "context_given_again", told))

    async def _remember(self, memory: Memory, sink: Sink) -> None:
        if memory != self._memory:
            self._memory = memory
            await sink.remember(memory.told())

    async def _run(self, prompt: Prompt, sink: Sink) -> TurnEnd | None:
        ended: TurnEnd | None = None
        keep = False
        session = self._session
        assert session is not None, "a turn runs on a program that is up"
        content = await make_content(prompt.content, prompt.attachments, self._earlier)
        earlier, self._earlier = self._earlier, ""
        self._began.set()
        try:
            async with self.delegation.open_turn(prompt.turn_id, sink):
                ended = await session.run_turn(prompt, content, sink)
            keep = not session.is_cleared and not session.is_stale
        except* PromptNotSent:
            ended, self._earlier = None, earlier
        except* ClaudeExited as group:
            ended = _exited(prompt.turn_id, str(unwrap(group)))
        except* ClaudeBadOutput as group:
            ended = _unreadable(prompt.turn_id, unwrap(group))
        if ended is not None:
            await self._remember(attrs.evolve(self._memory, is_cleared=session.is_cleared), sink)
        if keep:
            await trio.lowlevel.checkpoint()
        else:
            await self._lose(sink.emit)
        return ended


async def _load() -> ModuleType:
    """Import the part that needs the SDK, on a thread. It takes about a second."""
    return await trio.to_thread.run_sync(importlib.import_module, "bridgehub.agents.claude.start")


def _exited(turn_id: str, told: str) -> TurnFailed:
    return TurnFailed(turn_id, "agent_exited", told, retryable=True)


def _unreadable(turn_id: str, error: BaseException) -> TurnFailed:
    logger.warning("Claude Code sent what its SDK cannot read: %s", error)
    told = "Claude Code sent something that its SDK cannot read. See the hub's log."
    return TurnFailed(turn_id, "agent_protocol", told, retryable=True)
