"""Starting Codex: which program, with which settings, on which thread.

The id of a session's thread is ours to keep (`Sink.remember`); Codex keeps the thread itself below its home.
Codex reads instruction files (`AGENTS.md`) and settings (`config.toml`) when it starts or resumes a thread in
a new process; in a running one it takes up the person's own `AGENTS.md` but not the workspace's (seen). So
`Instructions` tells whether any of them changed, and then the program is started anew for the next turn: that
costs about a fifth of a second, and loses nothing but commands in the background.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.agents.codex.errors import (
    CallRefused,
    NotResumed,
    ProgramExited,
    ProgramMissing,
    WorkspaceGone,
)
from bridgehub.agents.codex.folder import FolderWords
from bridgehub.agents.codex.modes import approval_and_sandbox
from bridgehub.agents.codex.program import Program, start_program
from bridgehub.agents.codex.protocol import Fields
from bridgehub.protocol.messages import History, HubSpec
from bridgehub.protocol.process_tree import MARKER
from bridgehub.trust.reading import project_folders
from bridgehub.trust.records import codex_home

__all__ = [
    "Instructions",
    "Settings",
    "Thread",
    "find_program",
    "history_text",
    "initialize",
    "open_program",
    "open_thread",
    "user_inputs",
]

START_S = 60.0
"""How long a program may take until it is ready; 0.1 s seen, MCP servers of the person included."""

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
"""Notifications that Codex shall not send: what they tell comes again, whole, or is of no use here."""

_OPTIONS = ("-c", "tools.update_plan.enabled=true")
"""For every program: the tool for its to-do list, which is off elsewhere than in its own terminal."""

_NO_THREAD = ("no rollout found for thread id", "invalid session id")
"""How Codex says that it knows no thread of an id, or can have none. Nothing else means that a conversation is lost."""

_IN_USE = "already has an active writer"
"""How it says that another Codex has the thread open."""


@attrs.frozen
class Settings:
    """What a thread runs with; None is Codex's own default."""

    approval: str | None
    sandbox: str | None
    model: str | None

    @classmethod
    def of(cls, spec: HubSpec) -> Settings:
        """Return the session's settings, over the agent's table."""
        approval, sandbox = approval_and_sandbox(spec.options, spec.permission_mode)
        return cls(approval, sandbox, spec.model or spec.options.get("model"))

    def params(self, workspace: str) -> dict[str, Any]:
        """Return the fields of `thread/start` and `thread/resume`: a resume forgets what is not said again."""
        told = {"approvalPolicy": self.approval, "sandbox": self.sandbox, "model": self.model}
        return {"cwd": workspace} | {name: value for name, value in told.items() if value is not None}


@attrs.frozen
class Thread:
    """Which thread a session goes on with. `fork_after`: with a fork of it, up to this turn of Codex's own."""

    thread_id: str | None = None
    fork_after: str | None = None

    @classmethod
    def of(cls, memory: dict[str, Any]) -> Thread:
        """Read what an earlier hub remembered, or a fork was given; what is not understood counts as not said."""
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
    """The state of the files that Codex reads at the start of a process: path, time and size of each."""

    files: tuple[tuple[str, int, int], ...]

    @classmethod
    def look(cls, spec: HubSpec) -> Instructions:
        """Look at the files. Reads the disk: use a thread. Raises WorkspaceGone."""
        if not Path(spec.workspace).is_dir():
            raise WorkspaceGone(f"The workspace {spec.workspace} is not there any more.")
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
            raise ProgramMissing(f"There is no Codex program at {own}. Mend `cli_path` of the agent.")
        if not os.access(own, os.X_OK):
            raise ProgramMissing(f"The file {own} is not executable. Mend it, or `cli_path` of the agent.")
        return str(own)
    package = importlib.util.find_spec(_PACKAGE)  # finds it without importing
    if package is None or package.origin is None:
        raise ProgramMissing("The Codex agent is not installed.")
    path = Path(package.origin).parent / "bin" / "codex"
    if not path.is_file():
        raise ProgramMissing("The Codex package is there, its program is not.")
    return str(path)


async def open_program(spec: HubSpec, run_id: str, options: Sequence[str] = ()) -> Program:
    """Start the program, with `options` before its command.

    Raises:
        ProgramMissing: there is none.
        ProgramExited: it cannot be run.
    """
    path = await trio.to_thread.run_sync(find_program, spec)
    env = {**spec.env, MARKER: spec.hub_id}
    try:
        command = [path, *_OPTIONS, *options, "app-server"]
        return await start_program(command, env=env, cwd=spec.workspace, run_id=run_id)
    except OSError as error:
        raise ProgramExited(f"Codex could not be started: {error.strerror}.") from error


async def initialize(program: Program) -> bool:
    """Greet a fresh program; return whether it is signed in, or needs not to be.

    Raises:
        ProgramExited: it did not come up in time, or at all.
        BadOutput: it is no Codex.
        CallRefused: it does not want us.
    """
    capabilities = {
        "experimentalApi": True,  # for the list of commands in the background
        "requestAttestation": False,
        "optOutNotificationMethods": list(_UNHEARD),
    }
    with trio.move_on_after(START_S):
        await program.call("initialize", {"clientInfo": _CLIENT, "capabilities": capabilities})
        await program.notify("initialized")
        try:
            account = await program.call("account/read", {"refreshToken": False})
        except CallRefused:
            return True  # an older program: its turns tell
        return not account.flag("requiresOpenaiAuth") or account.value("account") is not None
    raise ProgramExited(f"Codex did not come up within {START_S:g} s.")


async def open_thread(
    program: Program, spec: HubSpec, thread: Thread, words: FolderWords
) -> tuple[str, bool, Fields]:
    """Resume or fork the thread, or start one if there is none, or Codex says for certain that it has none of this id.

    Any other failure to resume may pass: the thread may be open in another Codex, say. A refused fork is a new thread.

    Returns:
        The thread's id, whether it is new, and what Codex said of its settings.

    Raises:
        NotResumed: the thread could not be taken up now.
        CallRefused: Codex does not want these settings.
        ProgramExited, BadOutput: it went, or broke.
    """
    params = Settings.of(spec).params(spec.workspace) | words.params()
    with trio.move_on_after(START_S):
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
    raise ProgramExited(f"Codex did not open its thread within {START_S:g} s.")


def _not_resumed(reason: str) -> str:
    if _IN_USE in reason:
        return "The conversation is open in another Codex. Close it there, then send the message again."
    return (
        "Codex could not take up the conversation, which is kept. Send the message again; if that never helps, "
        f"start the agent afresh. Codex said: {reason}"
    )


def history_text(history: History) -> str:
    """Return what was said before as a text that goes in front of the prompt."""
    lines = [
        "Your own memory of this conversation was lost. This is what was said in it before, oldest first, "
        "as context for the message that follows:",
        "",
    ]
    if history.left_out:
        lines.append(f"[{history.left_out} older messages are left out]")
    lines += [f"{message.role}: {message.content}" for message in history.messages]
    return "\n".join(lines)


def user_inputs(
    content: str, attachments: tuple[dict[str, Any], ...], context: str | None = None
) -> list[dict[str, Any]]:
    """Return a person's message as Codex takes it: text, files named below it, pictures as pictures."""
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
