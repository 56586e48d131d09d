"""Starts an agent: the program, its initialization, and its conversation.

We remember the conversation's id (`Sink.remember`), and the agent keeps the conversation. A later process resumes it if
the agent can, otherwise it loads it. On a load the agent repeats the whole conversation before it answers. Nobody listens
then, so nothing is written to the journal twice. If the conversation is lost, or the agent cannot continue one, only the
agent's own memory is lost: it gets the messages as text. Any other refusal, a crash or an endless replay loses nothing:
the turn fails, and a later one tries again.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.agents.acp.known import known_of
from bridgehub.agents.errors import (
    BadOutput,
    CallRefused,
    NotResumed,
    NotSignedIn,
    ProgramExited,
    ProgramMissing,
    WorkspaceGone,
)
from bridgehub.agents.json_rpc.messages import Fields, Message, Notification, ServerRequest, Speech
from bridgehub.agents.json_rpc.program import Program, start_program
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.process_tree import MARKER

__all__ = [
    "AUTH_REQUIRED",
    "CANCELLED",
    "Greeting",
    "greet",
    "is_piece",
    "new_session",
    "open_program",
    "sign_in_words",
    "take_up_session",
]

VERSION = 1
"""The protocol version that we speak."""

AUTH_REQUIRED = -32000
"""The protocol's error for an agent that is not signed in."""

_NOT_FOUND = -32002
"""The protocol's error for something that does not exist."""

_GONE = re.compile(
    r"(session|conversation|thread)\b.{0,120}\b(not found|does(n't| not) exist|is unknown)"
    r"|\b(no such|unknown|no saved|no previous|could not find|not find)\b.{0,40}\b(session|conversation|thread)s?\b"
    r"|\binvalid (session|conversation|thread) (id|identifier)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Agents' messages for an id without a conversation. Nothing else means that the conversation is lost."""

MAX_METHODS = 8
MAX_METHOD_CHARS = 200

CANCELLED: Mapping[str, Any] = {"outcome": {"outcome": "cancelled"}}
"""The answer to a permission request that nobody decided."""

_CLIENT = {"name": "builderos", "title": "BuilderOS Mobile", "version": "1"}
_PIECES = ("agent_message_chunk", "agent_thought_chunk")


@attrs.frozen
class Greeting:
    """What an agent reports about itself.

    Attributes:
        info: its name and version, if it gives them.
        capabilities: what it can do.
        methods: the ways to sign in.
        version: the protocol version that it speaks.
    """

    info: Fields
    capabilities: Fields
    methods: tuple[Fields, ...]
    version: int

    @property
    def loads(self) -> bool:
        """Whether it can load an earlier conversation, and repeats it."""
        return self.capabilities.flag("loadSession")

    @property
    def resumes(self) -> bool:
        """Whether it can resume an earlier conversation without repeating it."""
        return "resume" in self.capabilities.inner("sessionCapabilities").raw

    def takes(self, kind: str) -> bool:
        """Return whether a prompt may hold `image`, `audio` or `embeddedContext`."""
        return self.capabilities.inner("promptCapabilities").flag(kind)


def is_piece(message: Message) -> bool:
    """Return whether a message is a piece of an answer."""
    return isinstance(message, Notification) and (
        message.params.inner("update").text("sessionUpdate") in _PIECES
    )


async def open_program(
    spec: HubSpec, run_id: str, idle: Callable[[Notification | ServerRequest], Mapping[str, Any] | None]
) -> Program:
    """Start the program.

    Args:
        run_id: the value of the variable that marks the agent's processes.
        idle: takes what the agent sends between two turns.

    Raises:
        ProgramMissing: there is no program.
        WorkspaceGone: the folder does not exist.
        ProgramExited: the program cannot be run.
    """
    command = [str(word) for word in spec.options["command"]]
    path = await trio.to_thread.run_sync(_find, command[0], spec)
    env = {**spec.env, MARKER: spec.hub_id}
    speech = Speech(spec.agent, "2.0", is_piece, idle)
    try:
        return await start_program(
            [path, *command[1:]], env=env, cwd=spec.workspace, run_id=run_id, speech=speech
        )
    except OSError as error:
        raise ProgramExited(f"{spec.agent} could not be started: {error.strerror}.") from error


def _find(program: str, spec: HubSpec) -> str:
    if not Path(spec.workspace).is_dir():
        raise WorkspaceGone(f"The workspace {spec.workspace} no longer exists.")
    path = shutil.which(program, path=spec.env.get("PATH"))
    if path is not None:
        return path
    if os.path.isfile(own := os.path.join(spec.workspace, program)) and os.sep in program:
        raise ProgramMissing(
            f"The file {own} is not executable. Make it so, or correct `command` in the agent's table."
        )
    known = known_of([program])
    fix = "Correct `command` in the agent's table." if known is None else f"Install it: `{known.install}`."
    raise ProgramMissing(f"The program {program} is not found. {fix}")


async def greet(program: Program, spec: HubSpec) -> Greeting:
    """Initialize a new program.

    Raises:
        ProgramExited: it ended, or did not answer in time.
        BadOutput: it speaks another protocol.
        CallRefused: it refuses us.
    """
    known = known_of(spec.options["command"])
    files = known is None or known.takes_files
    capabilities = {"fs": {"readTextFile": files, "writeTextFile": files}, "terminal": True}
    params = {"protocolVersion": VERSION, "clientCapabilities": capabilities, "clientInfo": _CLIENT}
    with trio.move_on_after(spec.start_s):
        told = await program.call("initialize", params)
        version = told.count("protocolVersion")
        if version != VERSION:
            raise BadOutput(f"it speaks version {version} of the Agent Client Protocol, we speak {VERSION}")
        return Greeting(
            told.inner("agentInfo"),
            told.inner("agentCapabilities"),
            told.objects("authMethods")[:MAX_METHODS],
            version,
        )
    raise ProgramExited(f"{spec.agent} did not start within {spec.start_s:g} s.")


def sign_in_words(spec: HubSpec, methods: tuple[Fields, ...]) -> str:
    """Return what a person can do about an agent that is not signed in."""
    ways = [
        ": ".join(part[:MAX_METHOD_CHARS] for part in (one.text("name"), one.text("description")) if part)
        for one in methods
    ]
    known = known_of(spec.options["command"])
    command = f" Run `{known.sign_in}` in a terminal there." if known is not None else ""
    listed = f" It offers: {'; '.join(way for way in ways if way)}." if any(ways) else ""
    return f"{spec.agent} is not signed in on this machine.{command}{listed}"


async def new_session(
    program: Program, spec: HubSpec, greeting: Greeting, servers: list[dict[str, Any]]
) -> tuple[str, Fields]:
    """Begin a conversation. Return its id and the agent's answer.

    Raises:
        NotSignedIn: the agent has no account.
        CallRefused, ProgramExited, BadOutput: the agent refused, ended or broke.
    """
    with trio.move_on_after(spec.start_s):
        try:
            told = await program.call("session/new", {"cwd": spec.workspace, "mcpServers": servers})
        except CallRefused as error:
            if error.code == AUTH_REQUIRED:
                raise NotSignedIn(sign_in_words(spec, greeting.methods)) from None
            raise
        session_id = told.text("sessionId")
        if not session_id:
            raise BadOutput("its new session has no id")
        return session_id, told
    raise ProgramExited(f"{spec.agent} did not begin a conversation within {spec.start_s:g} s.")


async def take_up_session(
    program: Program, spec: HubSpec, greeting: Greeting, servers: list[dict[str, Any]], session_id: str
) -> Fields | None:
    """Resume an earlier conversation. Return the agent's answer, None if the conversation is certainly lost.

    Raises:
        NotSignedIn: the agent has no account.
        NotResumed: the agent refused, or its replay does not end. Its program must not be used again.
        ProgramExited, BadOutput: the agent ended or broke.
    """
    if not greeting.loads and not greeting.resumes:
        await trio.lowlevel.checkpoint()
        return None
    method = "session/resume" if greeting.resumes else "session/load"
    params = {"sessionId": session_id, "cwd": spec.workspace, "mcpServers": servers}
    with trio.move_on_after(spec.start_s):  # noqa: ASYNC912 - the call waits
        try:
            return await program.call(method, params)
        except CallRefused as error:
            if error.code == AUTH_REQUIRED:
                raise NotSignedIn(sign_in_words(spec, greeting.methods)) from None
            if error.code == _NOT_FOUND or _GONE.search(str(error)):
                return None
            raise NotResumed(_not_resumed(spec, str(error))) from None
    raise NotResumed(_not_resumed(spec, f"it did not finish within {spec.start_s:g} s"))


def _not_resumed(spec: HubSpec, why: str) -> str:
    return (
        f"{spec.agent} could not resume the conversation now: {why[:1000]}. "
        "Send the message again; if it stays like this, restart the agent with the history."
    )
