"""The `codex` driver: `codex app-server` over its JSON-RPC, one warm program and one thread per session.

`session` describes what a turn is and what proves that a prompt was taken. `start` describes which program runs on which
thread. The package `openai-codex` contains the program, but none of the package is imported.

Options of the agent's table: `approval`, `sandbox` and `model`, which the session's own settings override, and
`cli_path`, a Codex program to use instead of the package's.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import attrs
import trio

from bridgehub.agents.base import BeganAtDesk, Sink, Tell, TurnEnd, refused_at_once
from bridgehub.agents.codex.folder import FolderWords, trust_arguments
from bridgehub.agents.codex.live.sockets import leave_socket, socket_of
from bridgehub.agents.codex.session import CodexSession
from bridgehub.agents.codex.start import (
    Instructions,
    StartSettings,
    Thread,
    initialize,
    join_daemon,
    open_program,
    open_thread,
    user_inputs,
)
from bridgehub.agents.codex.thread_settings import (
    PLAN_MODE,
    ThreadSettings,
    offer_of,
    own_efforts,
    refused_mode,
)
from bridgehub.agents.codex.translate.outcome import NOT_SIGNED_IN, failed
from bridgehub.agents.codex.turn import OwnCall, own_call
from bridgehub.agents.errors import (
    CallRefused,
    NotSignedIn,
    ProgramError,
    ProgramExited,
    PromptNotTaken,
)
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.json_rpc.program import Program
from bridgehub.agents.request_words import RequestWords
from bridgehub.agents.text import cut_json, history_text
from bridgehub.delegation.mcp import codex_arguments, open_codex_turn
from bridgehub.delegation.tasks import Delegation
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import AgentOffered, Joined, Noticed, SettingsTold, TurnDone, TurnFailed
from bridgehub.protocol.folder import refuse_joining
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import Decided, Prompt, Steer
from bridgehub.trust.gate import Settled, settle

__all__ = ["CodexDriver", "make_driver"]

_log = logging.getLogger("builderos.bridgehub")

HISTORY_BYTES = 200 * 1024
"""Bytes of the session that a new thread gets again: about 50,000 tokens, a fifth of a model's window."""

IMPLEMENT = "Implement the plan."
IMPLEMENT_THIS = "Implement this plan; I have changed it:"

JOINS_S = 60.0
"""How long a terminal may take to connect; 0.5 s seen, and 15 s on a machine with much else to do."""

_SERVICE_ENDS = frozenset({"model_error", "usage_limit", "context_full", "conversation_refused"})
"""Ends caused by the model service, which leave the program as it is."""

_ENDED_TWICE = ProgramExited("Codex ended twice before it took the message.")


def make_driver(spec: HubSpec) -> CodexDriver:
    """Return a driver that has started nothing yet."""
    return CodexDriver(spec, Delegation(spec))


@attrs.define(eq=False)
class CodexDriver:
    """Drives one program. If a turn finds that the program has ended, a new one resumes the thread."""

    spec: HubSpec
    delegation: Delegation
    can_steer: bool = True
    _thread: Thread = attrs.field(init=False)
    _told: str = attrs.field(init=False)
    """Which instructions of the folder we passed to the thread (`FolderWords.mark`)."""
    _program: Program | None = None
    _session: CodexSession | None = None
    _read: tuple[Instructions, Settled] | None = None
    """What the program has read, and the decision about the folder's settings at that time."""
    _wanted: Setup = attrs.field(init=False)
    _named: str | None = None
    _settings: ThreadSettings | None = None
    _asking: trio.CancelScope | None = None
    _has_past: bool = False
    """Whether the thread already has an answer."""
    _starting: trio.CancelScope | None = None
    _joined_by: float = -math.inf
    """Until when a terminal may be about to join the program."""

    def __attrs_post_init__(self) -> None:
        self._wanted = Setup.of_spec(self.spec)
        self.delegation.mode_now = self._mode_now
        memory = self.spec.agent_memory or {}
        self._thread = Thread.of(memory)
        self._told = str(memory.get("instructions") or "")

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends. See `AgentDriver`.

        After a cancelled turn the program must not be used again: close the driver.
        """
        if prompt.setup is not None:
            self._wanted = prompt.setup
            if (why := refused_mode(self.spec, prompt.setup)) is not None:
                self._wanted = attrs.evolve(prompt.setup, permission_mode=None)
                await sink.emit(SettingsTold(prompt.turn_id, {"permission_mode": None}, why))
        end = await self._try(prompt, sink)
        if end is None:  # it had ended since the last turn, which shows only now
            end = await self._try(prompt, sink) or failed(prompt.turn_id, _ENDED_TWICE)
        end = refused_at_once(end, has_past=self._has_past) or end
        self._has_past |= isinstance(end, TurnDone)
        if isinstance(end, TurnFailed) and end.code not in _SERVICE_ENDS:
            await self._lose(sink.emit)  # so that the next turn finds what was fixed meanwhile
        elif self._session is not None and not self._session.usable:
            await self._lose(sink.emit)  # something in it outlived the turn
        return end

    async def wait_own_work(self, tell: Tell) -> BeganAtDesk | None:  # noqa: RET503 - it ends, or sleeps forever
        """Report what ends in the background between two turns. Return once a terminal that joined began a turn."""
        if self._session is not None:
            begun = await self._session.between.wait(tell)
            if begun is not None:
                return begun
            await self._lose(tell)
        await trio.sleep_forever()

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnEnd:
        """Report what a terminal's turn does until it is done. See `SelfStarter`."""
        session = self._session
        if session is None:
            await trio.lowlevel.checkpoint()
            return TurnDone(turn_id)
        end: TurnEnd = TurnDone(turn_id)
        try:
            async with open_codex_turn(self.delegation, turn_id, sink):
                end = await session.follow_turn(turn_id, sink)
        except* ProgramError as group:
            end = failed(turn_id, unwrap(group))
        if not session.usable:
            await self._lose(sink.emit)
        return end

    async def stop_task(self, task_id: str, tell: Tell) -> None:
        """End a background command. Raises ProgramError."""
        if self._session is not None:
            await self._session.commands.stop(task_id, tell)
        await trio.lowlevel.checkpoint()

    def expect_terminal(self) -> None:
        """Keep the program as it is until the terminal has connected. See `Joinable`."""
        self._joined_by = trio.current_time() + JOINS_S

    async def warm_up(self, prompt: Prompt, sink: Sink) -> None:
        """Start the program on the session's thread. See `Warmable`."""
        self._wanted = prompt.setup or self._wanted
        is_up, socket = False, socket_of(self.spec)
        try:
            if await self._ensure_session(prompt, sink) is not None:
                raise ProgramExited("the thread first needs instructions or history")
            is_up = self._program is not None and self._program.listens
        finally:
            if socket is not None and not is_up:
                refuse_joining(socket)  # a terminal may wait for it
        await trio.lowlevel.checkpoint()

    async def configure(self, setup: Setup, tell: Tell) -> None:
        """Take the title now. Each turn starts with the other settings, so they take effect with the next one."""
        self._wanted = attrs.evolve(self._wanted, title=setup.title)
        await self.after_turn(tell)

    async def after_turn(self, tell: Tell) -> None:
        """Show the session's title in Codex's own list. Codex reports its figures in its turns."""
        session, title = self._session, self._wanted.title
        if session is None or self._starting is not None or not title or title == self._named:
            await trio.lowlevel.checkpoint()
            return
        session.between.elsewhere.own_title = title
        await session.program.call("thread/name/set", {"threadId": session.thread_id, "name": title})
        self._named = title

    async def steer(self, steer: Steer) -> bool:
        """Give the running turn one more message. Return whether Codex took it into the turn."""
        session = self._session
        if session is None or self._starting is not None:
            await trio.lowlevel.checkpoint()
            return False
        return await session.steer(steer.message_id, user_inputs(steer.content, steer.attachments))

    async def interrupt(self) -> None:
        """Ask the agent to stop its turn, or abandon the start of a program that is not ready yet."""
        if self._starting is not None:
            self._starting.cancel(reason="the turn was interrupted")
        elif self._asking is not None:
            self._asking.cancel(reason="the turn was interrupted")
        elif self._session is not None:
            await self._session.interrupt()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End the agent's process and what it started. Idempotent."""
        program, self._program, self._session = self._program, None, None
        if program is None:
            await trio.lowlevel.checkpoint()
            return
        socket = socket_of(self.spec)
        if program.listens and socket is not None:
            leave_socket(socket)
        await program.aclose()

    async def _lose(self, tell: Tell) -> None:
        """End the program, and report that its background commands have ended and that no terminal shares it."""
        session = self._session
        await self.aclose()
        if session is not None:
            if session.between.is_joined:
                await tell(Joined(None, is_joined=False))
            session.commands.background.lose()
            await session.commands.background.tell_ended(tell)

    async def _try(self, prompt: Prompt, sink: Sink) -> TurnEnd | None:
        """Run the turn. None if the program ended before it began with the prompt."""
        end: TurnEnd | None = None
        try:
            end = await self._run(prompt, sink)
        except* PromptNotTaken:
            await self._lose(sink.emit)
        except* ProgramError as group:
            end = failed(prompt.turn_id, unwrap(group))
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
        inputs = own_call(prompt.content) or user_inputs(prompt.content, prompt.attachments, context)
        async with open_codex_turn(self.delegation, prompt.turn_id, sink):
            return await self._run_turns(prompt, inputs, sink)

    async def _run_turns(self, prompt: Prompt, inputs: list[dict[str, Any]] | OwnCall, sink: Sink) -> TurnEnd:
        """Run a turn and, after a plan, the turns that a person's answer to it asks for."""
        turn_id = prompt.turn_id
        while True:
            session = self._session
            assert session is not None
            session.plan = ""
            await session.between.tell_news(sink.emit)  # what a terminal changed comes before our own changes
            end = await session.run_turn(turn_id, inputs, sink, self._changes())
            if self._settings is not None:
                self._settings.is_sent = False  # Codex says nothing if it comes to the same
            is_plan = self._wanted.permission_mode == PLAN_MODE and isinstance(end, TurnDone)
            if not is_plan or not session.plan or session.was_interrupted:
                return end
            decided = await self._ask_about(session.plan, sink)
            if decided is None:
                return end
            if decided.decision in ("allow", "allow_session"):
                self._wanted = attrs.evolve(self._wanted, permission_mode=decided.mode)
                if decided.mode is None:
                    await sink.emit(SettingsTold(turn_id, {"permission_mode": None}))
                edited = decided.input.get("plan") if isinstance(decided.input, dict) else None
                await self._ensure_session(prompt, sink)  # the sandbox may have changed
                inputs = user_inputs(IMPLEMENT if edited is None else f"{IMPLEMENT_THIS}\n\n{edited}", ())
            elif decided.decision == "deny" and decided.note:
                inputs = user_inputs(decided.note, ())
            else:
                return end

    async def _ask_about(self, plan: str, sink: Sink) -> Decided | None:
        """Ask for approval of a plan. None if the turn was interrupted meanwhile."""
        words = RequestWords("plan", "Carry out the plan", editable=("plan",))
        decided = None
        with trio.CancelScope() as self._asking:
            decided = await sink.ask("plan", cut_json({"plan": plan}).value, words=words)
        self._asking = None
        return decided

    def _changes(self) -> dict[str, Any]:
        assert self._settings is not None, "a thread that is open has settings"
        return self._settings.overrides(self._wanted, StartSettings.of(self._spec_now()))

    def _mode_now(self) -> str | None:
        return self._wanted.permission_mode

    def _spec_now(self) -> HubSpec:
        wanted = self._wanted
        return attrs.evolve(self.spec, model=wanted.model, permission_mode=wanted.permission_mode)

    async def _ensure_session(self, prompt: Prompt, sink: Sink) -> str | None:
        """Make sure that a program runs on the session's thread. Return what a new thread must get first.

        Raises:
            ProgramError: the program cannot start or cannot open the thread.
        """
        settled = await settle(self.spec, sink)
        instructions = await trio.to_thread.run_sync(Instructions.look, self.spec)
        read = (instructions, settled)
        session = self._session
        is_same = session is not None and session.usable
        if is_same and session is not None:
            is_same = (
                read == self._read
                or bool(session.commands.background.running)
                or trio.current_time() < self._joined_by
                or await session.between.is_shared()
            )
        if (
            is_same
            and self._settings is not None
            and self._settings.knows(StartSettings.of(self._spec_now()))
        ):
            return None  # its background work is worth more than instructions that were edited since
        await self._lose(sink.emit)
        self._read = read
        arguments = await trio.to_thread.run_sync(trust_arguments, self.spec, settled)
        program = self._program = await join_daemon(self.spec, self._thread)
        if program is None:
            program = self._program = await open_program(
                self.spec, f"{self.spec.hub_id}/{sink.new_id()}", codex_arguments(self.delegation) + arguments
            )
            if not await initialize(program, self.spec.start_s):
                raise NotSignedIn(NOT_SIGNED_IN)
        words = await trio.to_thread.run_sync(FolderWords.of, self.spec, settled)
        spec = self._spec_now()
        thread_id, is_new, told = await open_thread(program, spec, self._thread, words)
        await self._note_settings(program, StartSettings.of(spec), told, sink)
        self._has_past |= not is_new
        self._session = CodexSession(
            program, thread_id, self.spec.blob_folder, socket_of(self.spec), self._settings
        )
        news = words.instructions if not is_new and words.mark != self._told else ""
        if is_new or news or thread_id != self._thread.thread_id:
            self._thread, self._told = Thread(thread_id), words.mark
            await sink.remember(
                {"thread_id": thread_id, **({"instructions": words.mark} if words.mark else {})}
            )
        if news:
            return news
        return await _context(prompt, sink) if is_new and prompt.taken_before else None

    async def _note_settings(self, program: Program, opened: StartSettings, told: Fields, sink: Sink) -> None:
        """Take the settings of the thread, and report what Codex offers."""
        known = {} if self._settings is None else self._settings.policies
        default = self.spec.options.get("model")
        if self._wanted.model is not None:
            default = default or (self._settings.default_model if self._settings is not None else None)
        try:
            models = await program.call("model/list", {})
        except CallRefused:  # an older program
            models = Fields()
        offered = offer_of(models)
        if default is None and self._wanted.model is not None:
            default = next((one["id"] for one in offered["models"] if one["default"]), None)
        self._settings = ThreadSettings.of_start(told, opened, default, self._wanted.permission_mode)
        self._settings.efforts = own_efforts(models)
        self._settings.policies |= {word: policy for word, policy in known.items() if word != opened.sandbox}
        await sink.emit(AgentOffered(None, offered))


async def _context(prompt: Prompt, sink: Sink) -> str | None:
    """Return what was said in the session before, for a thread that does not know it."""
    history = await sink.history(HISTORY_BYTES)
    if not history.messages:
        return None
    told = "Codex could not resume the earlier conversation; it is given the messages again."
    await sink.emit(Noticed(prompt.turn_id, "context_given_again", told))
    return history_text(history)
