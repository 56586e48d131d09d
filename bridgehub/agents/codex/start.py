"""Starts Codex: which program, with which settings, on which thread.

We remember the id of a session's thread (`Sink.remember`). Codex keeps the thread itself below its home. Codex reads
instruction files (`AGENTS.md`) and settings (`config.toml`) when a new process starts or resumes a thread. A running
process notices changes of the person's own `AGENTS.md`, but not of the workspace's (seen). So `Instructions` shows
whether any of them changed, and then the program is restarted for the next turn. That costs about a fifth of a second
and loses only background commands.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.agents.codex.folder import FolderWords
from bridgehub.agents.codex.live.sockets import daemon_socket, join_program, socket_of, start_listening
from bridgehub.agents.errors import (
    CallRefused,
    CodexDoesNotListen,
    NotResumed,
    ProgramError,
    ProgramExited,
    ProgramMissing,
    WorkspaceGone,
)
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.json_rpc.program import Program, start_program
from bridgehub.agents.rights import approval_and_sandbox
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.process_tree import MARKER
from bridgehub.trust.reading import project_folders
from bridgehub.trust.records import codex_home

__all__ = [
    "Instructions",
    "StartSettings",
    "Thread",
    "find_program",
    "initialize",
    "join_daemon",
    "open_program",
    "open_thread",
    "user_inputs",
]

_log = logging.getLogger("builderos.bridgehub")

JOIN_DAEMON_S = 3.0
"""How long a terminal's program may take to let us in, seconds; 0.1 s seen. Then our own is started."""

_PACKAGE = "codex_cli_bin"
_CLIENT = {"name": "builderos", "title": "BuilderOS Mobile", "version": "1"}
_FILE_NAMES = ("AGENTS.override.md", "AGENTS.md", ".codex/config.toml")

_UNHEARD = (
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated",
    "command/exec/outputDelta",
    "process/outputDelta",
    "turn/diff/updated",
    "item/plan/delta",
    "thread/status/changed",
    "thread/readState/changed",
)
"""Notifications that Codex shall not send: their content comes again, whole, or has no use here."""

_OPTIONS = ("-c", "tools.update_plan.enabled=true")
"""For every program: enables the tool for its to-do list, which is off outside its own terminal."""

_NO_THREAD = ("no rollout found for thread id", "invalid session id")
"""Codex's messages for an id whose thread it does not know, or which cannot have one. Nothing else means that a
conversation is lost.
"""

_IN_USE = "already has an active writer"
"""Codex's message if another Codex has the thread open."""


@attrs.frozen
class StartSettings:
    """What a thread runs with. None is Codex's own default."""

    approval: str | None
    sandbox: str | None
    model: str | None

    @classmethod
    def of(cls, spec: HubSpec) -> StartSettings:
        """Return the session's settings, which override the agent's table."""
        approval, sandbox = approval_and_sandbox(spec.options, spec.permission_mode)
        return cls(approval, sandbox, spec.model or spec.options.get("model"))

    def params(self, workspace: str) -> dict[str, Any]:
        """Return the fields of `thread/start` and `thread/resume`. A resume forgets every setting that is not repeated."""
        told = {"approvalPolicy": self.approval, "sandbox": self.sandbox, "model": self.model}
        return {"cwd": workspace} | {name: value for name, value in told.items() if value is not None}


@attrs.frozen
class Thread:
    """The thread that a session continues. With `fork_after` it continues a fork, up to this turn of Codex's own."""

    thread_id: str | None = None
    fork_after: str | None = None

    @classmethod
    def of(cls, memory: dict[str, Any]) -> Thread:
        """Read what an earlier hub remembered, or a fork was given. Fields that are not understood count as missing."""
        thread_id, fork = memory.get("thread_id"), memory.get("fork")
        if isinstance(thread_id, str):
            return cls(thread_id)
        if isinstance(fork, dict):
            source, turn_id = fork.get("thread"), fork.get("turn")
            if isinstance(source, str) and isinstance(turn_id, str):
                return cls(source, turn_id)
        return cls()


@attrs.frozen
class Instructions:
    """The state of the files that Codex reads when a process starts: path, modification time (ns) and size of each."""

    files: tuple[tuple[str, int, int], ...]

    @classmethod
    def look(cls, spec: HubSpec) -> Instructions:
        """Return the current state of the files. Reads the disk: use a thread. Raises WorkspaceGone."""
        if not Path(spec.workspace).is_dir():
            raise WorkspaceGone(f"The workspace {spec.workspace} no longer exists.")
        home = codex_home(spec.env)
        paths = [home / name for name in ("AGENTS.override.md", "AGENTS.md", "config.toml")]
        for folder in project_folders(Path(spec.workspace)):
            paths += [folder / name for name in _FILE_NAMES]
        found = []
        for path in paths:
            try:
                stat = path.stat()
            except OSError:
                continue
            found.append((str(path), stat.st_mtime_ns, stat.st_size))
        return cls(tuple(found))


def find_program(spec: HubSpec) -> str:
    """Return the path of the program. Reads the disk: use a thread. Raises ProgramMissing."""
    own = spec.options.get("cli_path")
    if own is not None:
        if not Path(own).is_file():
            raise ProgramMissing(f"There is no Codex program at {own}. Fix `cli_path` of the agent.")
        if not os.access(own, os.X_OK):
            raise ProgramMissing(
                f"The file {own} is not executable. Make it so, or fix `cli_path` of the agent."
            )
        return str(own)
    package = importlib.util.find_spec(_PACKAGE)  # finds it without importing
    if package is None or package.origin is None:
        raise ProgramMissing("The Codex agent is not installed.")
    path = Path(package.origin).parent / "bin" / "codex"
    if not path.is_file():
        raise ProgramMissing("The Codex package is installed, but its program is missing.")
    return str(path)


async def open_program(spec: HubSpec, run_id: str, options: Sequence[str] = ()) -> Program:
    """Start the program, with `options` before its command.

    Raises:
        ProgramMissing: there is no program.
        ProgramExited: the program cannot be run.
    """
    path = await trio.to_thread.run_sync(find_program, spec)
    env = {**spec.env, MARKER: spec.hub_id}
    socket = socket_of(spec)
    try:
        command = [path, *_OPTIONS, *options, "app-server"]
        if socket is not None:
            try:
                return await start_listening(
                    command, socket, env=env, cwd=spec.workspace, run_id=run_id, limit_s=spec.start_s
                )
            except CodexDoesNotListen as error:
                _log.info("Codex does not listen on a socket, so it is tried on pipes: %s", error)
        return await start_program(command, env=env, cwd=spec.workspace, run_id=run_id)
    except OSError as error:
        raise ProgramExited(f"Codex could not be started: {error.strerror}.") from error


async def join_daemon(spec: HubSpec, thread: Thread) -> Program | None:
    """Connect to the program that a terminal started, if it has the thread open; None if not.

    Raises:
        ProgramExited, BadOutput: it ended, or does not speak the protocol of Codex.
    """
    if thread.thread_id is None or thread.fork_after is not None:
        return None
    # It may be stopped, and then accepts a connection and says nothing.
    with trio.move_on_after(JOIN_DAEMON_S):
        return await _join_daemon(spec, thread.thread_id)
    return None


async def _join_daemon(spec: HubSpec, thread_id: str) -> Program | None:
    program = await join_program(daemon_socket(codex_home(spec.env)))
    if program is None:
        return None
    has_it = False
    try:
        with suppress(ProgramError):  # an older program, or one that does not answer as it should
            await initialize(program, spec.start_s)
            loaded = await program.call("thread/loaded/list", {})
            has_it = thread_id in loaded.each("data")
    finally:
        if not has_it:
            await program.aclose()
    return program if has_it else None


async def initialize(program: Program, start_s: float) -> bool:
    """Initialize a new program. Return whether it is signed in, or needs no sign-in.

    Args:
        start_s: how long it may take, seconds.

    Raises:
        ProgramExited: it did not become ready in time, or ended.
        BadOutput: it does not speak the protocol of Codex.
        CallRefused: it refuses us.
    """
    capabilities = {
        "experimentalApi": True,  # for the list of background commands
        "requestAttestation": False,
        "optOutNotificationMethods": list(_UNHEARD),
    }
    with trio.move_on_after(start_s):
        await program.call("initialize", {"clientInfo": _CLIENT, "capabilities": capabilities})
        await program.notify("initialized")
        try:
            account = await program.call("account/read", {"refreshToken": False})
        except CallRefused:
            return True  # an older program: its turns show it
        return not account.flag("requiresOpenaiAuth") or account.value("account") is not None
    raise ProgramExited(f"Codex did not start within {start_s:g} s.")


async def open_thread(
    program: Program, spec: HubSpec, thread: Thread, words: FolderWords
) -> tuple[str, bool, Fields]:
    """Resume or fork the thread. Start a new one if there is none, or if Codex is certain that it does not know the id.

    Any other failure to resume may be temporary: the thread may be open in another Codex. A refused fork gives a new
    thread.

    Returns:
        The thread's id, whether it is new, and what Codex reported of its settings.

    Raises:
        NotResumed: the thread could not be resumed now.
        CallRefused: Codex refuses these settings.
        ProgramExited, BadOutput: the program ended, or broke.
    """
    params = StartSettings.of(spec).params(spec.workspace) | words.params()
    with trio.move_on_after(spec.start_s):
        if thread.thread_id is not None:
            known = {"threadId": thread.thread_id, "excludeTurns": True}
            up_to = {} if thread.fork_after is None else {"lastTurnId": thread.fork_after}
            try:
                told = await program.call("thread/fork" if up_to else "thread/resume", params | known | up_to)
                return told.inner("thread").text("id") or thread.thread_id, False, told
            except CallRefused as error:
                if not up_to and not str(error).startswith(_NO_THREAD):
                    raise NotResumed(_not_resumed(str(error))) from error
        told = await program.call("thread/start", params)
        return told.inner("thread").text("id"), True, told
    raise ProgramExited(f"Codex did not open its thread within {spec.start_s:g} s.")


def _not_resumed(reason: str) -> str:
    if _IN_USE in reason:
        return "The conversation is open in another Codex. Close it there, then send the message again."
    return (
        "Codex could not resume the conversation, which is kept. Send the message again; if that never helps, "
        f"restart the agent with the history. Codex said: {reason}"
    )


def user_inputs(
    content: str, attachments: tuple[dict[str, Any], ...], context: str | None = None
) -> list[dict[str, Any]]:
    """Return a person's message in Codex's form: text, files named below it, pictures as pictures."""
    lines = [
        f"- {item.get('filename') or Path(str(item.get('path'))).name}: {item.get('path')}"
        for item in attachments
    ]
    text = "\n".join([content, "", "Attached files:", *lines]) if lines else content
    inputs = [{"type": "text", "text": context}] if context else []
    inputs.append({"type": "text", "text": text})
    inputs += [
        {"type": "localImage", "path": str(item["path"])}
        for item in attachments
        if item.get("path") and str(item.get("mime_type", "")).startswith("image/")
    ]
    return inputs
