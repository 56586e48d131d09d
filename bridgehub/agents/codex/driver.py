"""The `codex` driver: `codex app-server` over its JSON-RPC, one warm program and one thread per session.

What a turn is, and what proves that a prompt was taken, is told in `codex_session`; which program and which
thread, in `codex_start`. The package `openai-codex` brings the program; none of it is imported.

Options of the agent's table: `approval`, `sandbox` and `model` (a session's own settings go first), and
`cli_path`, a Codex program to use instead of the one of the package.
"""

from __future__ import annotations

import logging
from typing import Any

import attrs
import trio

from bridgehub.agents.base import Sink, TurnEnd
from bridgehub.agents.codex.errors import (
    BadOutput,
    CallRefused,
    CodexError,
    NotSignedIn,
    ProgramExited,
    ProgramMissing,
    PromptNotTaken,
    WorkspaceGone,
)
from bridgehub.agents.codex.folder import FolderWords, trust_arguments
from bridgehub.agents.codex.outcome import NOT_SIGNED_IN
from bridgehub.agents.codex.program import Program
from bridgehub.agents.codex.session import CodexSession
from bridgehub.agents.codex.start import (
    Instructions,
    history_text,
    initialize,
    open_program,
    open_thread,
    user_inputs,
)
from bridgehub.delegation.mcp import codex_arguments, open_codex_turn
from bridgehub.delegation.tasks import Delegation
from bridgehub.protocol.messages import HubSpec, Noticed, Prompt, Steer, TurnDone, TurnFailed
from bridgehub.trust.gate import Settled, settle

__all__ = ["CodexDriver", "make_driver"]

_log = logging.getLogger("builderos.bridgehub")

HISTORY_BYTES = 200 * 1024
"""How much of the session is given again to a new thread: about 50,000 tokens, a fifth of a model's window."""

_INSTALL = "Run `make install` in the checkout, or `pip install 'builderos-mobile[codex]'`, and send the message again."


_ENDED_TWICE = ProgramExited("Codex ended twice before it took the message.")


def make_driver(spec: HubSpec) -> CodexDriver:
    """Return a driver that has started nothing yet."""
    return CodexDriver(spec, Delegation(spec))


@attrs.define(eq=False)
class CodexDriver:
    """See the module. Any turn may find the program gone; then a new one resumes the thread."""

    spec: HubSpec
    delegation: Delegation
    can_steer: bool = True
    _thread_id: str | None = attrs.field(init=False)
    _told: str = attrs.field(init=False)
    """Which instructions of the folder the thread was given by us (`FolderWords.mark`)."""
    _program: Program | None = None
    _session: CodexSession | None = None
    _read: tuple[Instructions, Settled] | None = None
    """What the program has read, and under which word about the folder's settings."""
    _starting: trio.CancelScope | None = None

    def __attrs_post_init__(self) -> None:
        memory = self.spec.agent_memory or {}
        known = memory.get("thread_id")
        self._thread_id = known if isinstance(known, str) else None
        self._told = str(memory.get("instructions") or "")

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends. See `AgentDriver`.

        A cancelled turn leaves a program that must not be used again: close the driver.
        """
        end = await self._try(prompt, sink)
        if end is None:  # it had died since the last turn, which is noticed only now
            end = await self._try(prompt, sink) or _failed(prompt.turn_id, _ENDED_TWICE)
        if isinstance(end, TurnFailed) and end.code != "model_error":
            await self.aclose()  # the next turn finds what was mended meanwhile
        elif self._session is not None and not self._session.usable:
            await self.aclose()  # something in it outlived the turn
        return end

    async def steer(self, steer: Steer) -> bool:
        """Give the running turn one more message; return whether Codex took it into the turn."""
        session = self._session
        if session is None or self._starting is not None:
            await trio.lowlevel.checkpoint()
            return False
        return await session.steer(steer.message_id, user_inputs(steer.content, steer.attachments))

    async def interrupt(self) -> None:
        """Ask the agent politely to stop its turn; give up the start of a program that is not up yet."""
        if self._starting is not None:
            self._starting.cancel(reason="the turn was interrupted")
        elif self._session is not None:
            await self._session.interrupt()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End the agent's process and what it started. Idempotent."""
        program, self._program, self._session = self._program, None, None
        if program is None:
            await trio.lowlevel.checkpoint()
        else:
            await program.aclose()

    async def _try(self, prompt: Prompt, sink: Sink) -> TurnEnd | None:
        """Run the turn; None where the program ended before it began with the prompt."""
        end: TurnEnd | None = None
        try:
            end = await self._run(prompt, sink)
        except* PromptNotTaken:
            await self.aclose()
        except* CodexError as group:
            end = _failed(prompt.turn_id, _first(group))
        return end

    async def _run(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        context: str | None = None
        with trio.CancelScope() as starting:
            self._starting = starting
            try:
                context = await self._ensure_session(prompt, sink)
            finally:
                self._starting = None
        if starting.cancel_called:
            if starting.cancelled_caught:
                await self.aclose()
            return TurnDone(prompt.turn_id)
        assert self._session is not None, "a turn runs on a program that is up"
        inputs = user_inputs(prompt.content, prompt.attachments, context)
        async with open_codex_turn(self.delegation, prompt.turn_id, sink):
            return await self._session.run_turn(prompt.turn_id, inputs, sink)

    async def _ensure_session(self, prompt: Prompt, sink: Sink) -> str | None:
        """Have a program running on the session's thread; return what a new thread must be told first.

        Raises:
            CodexError: it cannot be had.
        """
        settled = await settle(self.spec, sink)
        instructions = await trio.to_thread.run_sync(Instructions.look, self.spec)
        read = (instructions, settled)
        if self._session is not None and self._session.usable and read == self._read:
            return None
        await self.aclose()
        self._read = read
        arguments = await trio.to_thread.run_sync(trust_arguments, self.spec, settled)
        program = self._program = await open_program(
            self.spec, f"{self.spec.hub_id}/{sink.new_id()}", codex_arguments(self.delegation) + arguments
        )
        if not await initialize(program):
            raise NotSignedIn(NOT_SIGNED_IN)
        words = await trio.to_thread.run_sync(FolderWords.of, self.spec, settled)
        thread_id, is_new = await open_thread(program, self.spec, self._thread_id, words)
        self._session = CodexSession(program, thread_id, self.spec.blob_folder)
        news = words.instructions if not is_new and words.mark != self._told else ""
        if is_new or news:
            self._thread_id, self._told = thread_id, words.mark
            await sink.remember(
                {"thread_id": thread_id, **({"instructions": words.mark} if words.mark else {})}
            )
        if news:
            return news
        return await _context(prompt, sink) if is_new and prompt.taken_before else None


async def _context(prompt: Prompt, sink: Sink) -> str | None:
    """Return what was said in the session before, for a thread that knows nothing of it."""
    history = await sink.history(HISTORY_BYTES)
    if not history.messages:
        return None
    told = "Codex could not take up the earlier conversation; what was said in it is given to it again."
    await sink.emit(Noticed(prompt.turn_id, "context_given_again", told))
    return history_text(history)


def _failed(turn_id: str, error: BaseException) -> TurnFailed:
    match error:
        case ProgramMissing():
            return TurnFailed(turn_id, "not_installed", f"{error} {_INSTALL}", retryable=False)
        case NotSignedIn():
            return TurnFailed(turn_id, "not_signed_in", str(error), retryable=False)
        case BadOutput():
            _log.warning("Codex said what is not its protocol: %s", error)
            told = f"Codex said something that cannot be read: {error}."
            return TurnFailed(turn_id, "agent_protocol", told, retryable=True)
        case CallRefused():
            told = f"Codex refused what it was asked: {error}"
            return TurnFailed(turn_id, "agent_exited", told, retryable=False)
        case WorkspaceGone():
            return TurnFailed(turn_id, "agent_exited", str(error), retryable=False)
    return TurnFailed(turn_id, "agent_exited", str(error), retryable=True)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
