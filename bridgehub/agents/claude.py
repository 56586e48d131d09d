"""The `claude` driver: Claude Code through the Claude Agent SDK, one warm program per session.

The SDK is heavy and optional, so it is loaded with the first turn, on a thread, and only in a hub that drives
Claude. What a turn is and how its messages translate is told in `claude_session`, `claude_events` and
`claude_outcome`, which conversation it belongs to in `claude_start`.

Options of the agent's table: `permission_mode` and `model` (a session's own settings go first), and
`cli_path`, a Claude Code program to use instead of the one that the SDK brings.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bridgehub.agents.base import Sink, TurnEnd
from bridgehub.agents.claude_errors import BadOutput, ProgramExited, ProgramMissing, PromptNotSent
from bridgehub.delegation import Delegation
from bridgehub.protocol.messages import HubSpec, Noticed, Prompt, Steer, TurnDone, TurnFailed

if TYPE_CHECKING:
    from bridgehub.agents.claude_session import ClaudeSession

__all__ = ["ClaudeDriver", "make_driver"]

logger = logging.getLogger("builderos.bridgehub")

_PACKAGE = "claude_agent_sdk"

_NOT_INSTALLED = (
    "The Claude agent is not installed. Run `make install` in the checkout, "
    "or `pip install 'builderos-mobile[claude]'`, and send the message again."
)


def make_driver(spec: HubSpec) -> ClaudeDriver:
    """Return a driver that has started nothing yet."""
    return ClaudeDriver(spec, Delegation(spec))


@attrs.define(eq=False)
class ClaudeDriver:
    """See the module. Any turn may find the program gone; then a new one resumes the conversation."""

    spec: HubSpec
    delegation: Delegation
    can_steer: bool = False
    _module: ModuleType | None = None
    _session: ClaudeSession | None = None
    _starting: trio.CancelScope | None = None
    _is_cleared: bool = False
    """The next program begins a conversation of its own."""

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends. See `AgentDriver`.

        A cancelled turn leaves a program that must not be used again: close the driver.
        """
        await trio.lowlevel.checkpoint()
        try:
            self._module = self._module or await _load()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != _PACKAGE:
                raise
            return TurnFailed(prompt.turn_id, "not_installed", _NOT_INSTALLED, retryable=False)
        end = await self._try(self._module, prompt, sink)
        if end is None:
            end = await self._try(self._module, prompt, sink)
        return end or _exited(prompt, "Claude Code ended twice before it took the message.")

    async def steer(self, steer: Steer) -> bool:
        """Refuse: not there yet."""
        await trio.lowlevel.checkpoint()
        return False

    async def interrupt(self) -> None:
        """Ask the agent politely to stop its turn; give up the start of a program that is not up yet."""
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

    async def _try(self, module: Any, prompt: Prompt, sink: Sink) -> TurnEnd | None:
        """Run the turn; None where the program had died in the meantime and the prompt was not sent."""
        failed: TurnFailed | None = None
        with trio.CancelScope() as starting:
            self._starting = starting
            failed = await self._ensure_session(module, prompt, sink)
        self._starting = None
        if starting.cancel_called:
            return TurnDone(prompt.turn_id)
        return failed or await self._run(prompt, sink)

    async def _ensure_session(self, module: Any, prompt: Prompt, sink: Sink) -> TurnFailed | None:
        """Have a program running; return the turn's end where that cannot be."""
        if self._session is not None:
            await trio.lowlevel.checkpoint()
            return None
        if not await trio.Path(self.spec.workspace).is_dir():
            told = f"The workspace {self.spec.workspace} is not there any more."
            return TurnFailed(prompt.turn_id, "agent_exited", told, retryable=False)
        try:
            self._session, is_new = await module.open_session(
                self.spec, self.delegation, anew=self._is_cleared
            )
        except ProgramMissing as error:
            told = (
                f"There is no Claude Code program at {error}. Mend `cli_path` of the agent. {_NOT_INSTALLED}"
            )
            return TurnFailed(prompt.turn_id, "not_installed", told, retryable=False)
        except ProgramExited as error:
            return _exited(prompt, str(error))
        if is_new and prompt.taken_before and not self._is_cleared:
            told = "Claude Code could not take up the earlier conversation and began anew."
            await sink.emit(Noticed(prompt.turn_id, "context_lost", told))
        self._is_cleared = False
        return None

    async def _run(self, prompt: Prompt, sink: Sink) -> TurnEnd | None:
        ended: TurnEnd | None = None
        keep = False
        session = self._session
        assert session is not None, "a turn runs on a program that is up"
        try:
            async with self.delegation.open_turn(prompt.turn_id, sink):
                ended = await session.run_turn(prompt, _with_attachments(prompt), sink)
            self._is_cleared = session.is_cleared
            keep = not self._is_cleared
        except* PromptNotSent:
            ended = None
        except* ProgramExited as group:
            ended = _exited(prompt, str(_first(group)))
        except* BadOutput as group:
            logger.warning("Claude Code said what its SDK cannot read: %s", _first(group))
            told = "Claude Code said something that its SDK cannot read; see the hub's log."
            ended = TurnFailed(prompt.turn_id, "agent_protocol", told, retryable=True)
        if keep:
            await trio.lowlevel.checkpoint()
        else:
            await self.aclose()
        return ended


async def _load() -> ModuleType:
    """Import the part that needs the SDK, on a thread: it takes about a second."""
    return await trio.to_thread.run_sync(importlib.import_module, "bridgehub.agents.claude_start")


def _exited(prompt: Prompt, told: str) -> TurnFailed:
    return TurnFailed(prompt.turn_id, "agent_exited", told, retryable=True)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _with_attachments(prompt: Prompt) -> str:
    """Return the prompt's text with the attached files named below it; the agent reads them by itself."""
    if not prompt.attachments:
        return prompt.content
    lines = [
        f"- {item.get('name') or Path(str(item.get('path'))).name}: {item.get('path')}"
        for item in prompt.attachments
    ]
    return "\n".join([prompt.content, "", "Attached files:", *lines])
