"""Starts Claude Code: with which options, and on which conversation.

The id of a session's conversation is `HubSpec.agent_session_id`. If the program has a transcript of that id, the
conversation is resumed, otherwise it begins under it. If the program no longer knows a conversation, a new one begins
under the next id of a fixed row, so that a later hub finds the newest one. The same happens if the person cleared it
(`/clear`), because the program then continues under an id of its own, which a later hub would not know.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from collections import deque
from contextlib import ExitStack
from pathlib import Path

import attrs
import orjson
import trio
from claude_agent_sdk import (
    CanUseToolShadowedWarning,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    CLIConnectionError,
    CLINotFoundError,
    HookMatcher,
    ProcessError,
)
from claude_agent_sdk.types import SystemPromptPreset

from bridgehub.agents.claude.held_file import hold
from bridgehub.agents.claude.memory import MAX_CONVERSATIONS, ConversationRow, RecordPosition
from bridgehub.agents.claude.offer import ClaudeOffer
from bridgehub.agents.claude.permissions import PermissionBroker, reading_rule
from bridgehub.agents.claude.session import ClaudeSession, told_end
from bridgehub.agents.claude.settings import config_folder
from bridgehub.agents.claude.stream import JoiningTransport
from bridgehub.agents.claude.switches import ClaudeSwitches
from bridgehub.agents.errors import ClaudeBadOutput, ClaudeExited, ClaudeMissing
from bridgehub.delegation.mcp import CLAUDE_TOOL, SERVER, claude_server
from bridgehub.delegation.tasks import Delegation
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.process_tree import MARKER, TASK_MARKER
from bridgehub.trust.gate import Settled
from bridgehub.trust.instructions import claude_instructions

__all__ = ["ClaudeSetup", "ConversationRow", "open_session"]

logger = logging.getLogger("builderos.bridgehub")

HOLD_S = 90.0
"""How long the program lets a tool wait for its checkpoint, seconds. A workspace's first one may take a minute."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Bytes of one JSON message of the program. The SDK's own limit, 1 MiB, is less than a large file that a tool reads."""

STDERR_LINES = 20
"""Lines of the program's stderr that are kept for the message about its end."""

STDERR_LINE_CHARS = 500
"""Code points of one such line that are kept."""

_PROMPT: SystemPromptPreset = {"type": "preset", "preset": "claude_code"}
_FRESH_PROMPT: SystemPromptPreset = {"type": "preset", "preset": "claude_code", "snapshot": False}
"""Written again at each start, so that an edit of the instructions takes effect."""
_OWN_ENV = {
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
    "CLAUDE_CODE_ENABLE_TODO_TOOLS": "1",
    "CLAUDE_CODE_ENTRYPOINT": "builderos",
}
"""Without the second, the program has no to-do list in a session of its SDK. The third distinguishes our programs and their
conversations from those of a terminal, whose picker leaves out sessions under the SDK's own name.
"""

_NO_RULE = frozenset(",()*?[]{}\\!")
"""Characters that have a meaning in a rule. If a folder's name has one, its files are allowed one by one."""

_NO_MESSAGE = "No message found with message.uuid"
_NO_CONVERSATION = "No conversation found with session ID"
"""The program's messages for a missing place and an unknown conversation. Nothing else means that one is lost."""


@attrs.frozen
class ClaudeSetup:
    """What a program is started with, besides the hub's spec.

    Attributes:
        `anew`: leave the newest conversation alone and begin the one after it.
        folders: folders with files that the person attached. All files there may be read without asking.
        readable: files that are attached from now on. The driver adds to it.
        delegation: passes work to other agents.
        settled: the decision about the workspace's settings.
        fork: the place from which a session without its own conversation forks.
        native: the conversation that a terminal began and this session continues. Empty: its own.
        at: the message in it after which to continue. Empty: the newest.
    """

    anew: bool
    folders: tuple[str, ...]
    readable: set[str]
    delegation: Delegation
    settled: Settled
    fork: RecordPosition | None = None
    native: str = ""
    at: str = ""


async def open_session(spec: HubSpec, setup: ClaudeSetup) -> tuple[ClaudeSession, bool]:
    """Start the program on the session's newest conversation, or on a new one if the program does not know that id.

    A start that fails for any other reason loses nothing: the next try may resume the conversation.

    Returns:
        The session, and whether its conversation is new.

    Raises:
        ClaudeMissing: there is no program.
        ClaudeExited: it did not become ready.
        ClaudeBadOutput: it sent something that the SDK cannot read.
    """
    row = ConversationRow.of(setup.native or spec.agent_session_id)
    newest = await trio.to_thread.run_sync(row.newest, spec.env)
    if newest is None and setup.fork is not None and not setup.anew:
        try:
            return await _start(spec, setup, session_id=row.ids[0], resume=setup.fork), False
        except ClaudeExited as error:
            if not any(words in str(error) for words in (_NO_CONVERSATION, _NO_MESSAGE)):
                raise
            logger.warning("the conversation of %s cannot be forked: %s", spec.session_id, error)
    if newest is None:
        return await _start(spec, setup, session_id=row.ids[0]), True
    following = row.ids[min(newest + 1, MAX_CONVERSATIONS - 1)]
    if setup.anew:
        return await _start(spec, setup, session_id=following), True
    try:
        return await _start(spec, setup, resume=row.ids[newest]), False
    except ClaudeExited as error:
        if _NO_CONVERSATION not in str(error):
            raise
        logger.warning("the conversation of %s cannot be resumed: %s", spec.session_id, error)
        return await _start(spec, setup, session_id=following), True


async def _start(
    spec: HubSpec,
    setup: ClaudeSetup,
    *,
    session_id: str | None = None,
    resume: str | RecordPosition | None = None,
) -> ClaudeSession:
    """Start the program. `resume`: a conversation to continue, or a place in one to continue from under `session_id`."""
    if (own := spec.options.get("cli_path")) is not None and not await trio.to_thread.run_sync(_may_run, own):
        raise ClaudeMissing(f"{own}: the file is not executable")
    stderr: deque[str] = deque(maxlen=STDERR_LINES)
    asker = PermissionBroker(setup.readable, may_bypass=_may_bypass(spec))
    options = _options(spec, setup, asker, stderr)
    held = ExitStack()
    await trio.to_thread.run_sync(_hold_files, spec, setup.settled, options, held)
    options.session_id = session_id
    if isinstance(resume, RecordPosition):
        options.resume, options.resume_session_at = resume.conversation, resume.message
        options.fork_session = True
    else:
        options.resume = resume
    if (server := claude_server(setup.delegation)) is not None:
        options.mcp_servers = {SERVER: server}
        options.allowed_tools.append(CLAUDE_TOOL)
    # The SDK does this itself, but not for a transport of ours.
    asking = dataclasses.replace(options, permission_prompt_tool_name="stdio")
    client = ClaudeSDKClient(options, JoiningTransport(asking))
    warnings.simplefilter("ignore", CanUseToolShadowedWarning)
    try:
        with held, trio.fail_after(spec.start_s):
            await client.connect()
            held = held.pop_all()
    except trio.TooSlowError as error:
        raise ClaudeExited(f"Claude Code did not start within {spec.start_s:g} s.") from error
    except CLINotFoundError as error:
        raise ClaudeMissing(str(spec.options.get("cli_path") or "the SDK's own copy")) from error
    except (ProcessError, CLIConnectionError) as error:
        exit_code = error.exit_code if isinstance(error, ProcessError) else None
        raise ClaudeExited(told_end(exit_code, stderr)) from error
    except ClaudeSDKError as error:
        raise ClaudeBadOutput(type(error).__name__) from error
    switches = ClaudeSwitches(
        client,
        ClaudeOffer.of_start(await client.get_server_info()),
        default_model=spec.options.get("model"),
        default_mode=_default_mode(spec),
        model=spec.model,
        mode=spec.permission_mode or _default_mode(spec),
    )
    asker.switches = switches
    cost_total = 0.0 if resume is None else None
    messages = client.receive_messages()
    projects = config_folder(spec.env) / "projects"
    return ClaudeSession(
        spec.hub_id,
        client,
        messages,
        asker,
        stderr,
        projects=projects,
        blob_folder=spec.blob_folder,
        cost_total=cost_total,
        switches=switches,
        held=held,
    )


def _may_run(path: str) -> bool:
    """Return whether the file may be executed. A missing file also returns true: the SDK reports it."""
    return not Path(path).is_file() or os.access(path, os.X_OK)


def _hold_files(spec: HubSpec, settled: Settled, options: ClaudeAgentOptions, held: ExitStack) -> None:
    """Pass the program what must not be in its arguments, which every process can see."""
    if not settled.loads:
        text = claude_instructions(spec.workspace, config_folder(spec.env))
        if text:
            file = hold(text.encode(errors="replace"), spec.folder)
            held.callback(file.close)
            options.extra_args["append-system-prompt-file"] = file.path
    elif settled.digest and spec.own_env:
        # It overrides the folder's own `env`: settings passed this way come before those of any file.
        own = {name: spec.env[name] for name in spec.own_env if name in spec.env}
        file = hold(orjson.dumps({"env": own}), spec.folder)
        held.callback(file.close)
        options.settings = file.path


def _default_mode(spec: HubSpec) -> str:
    return str(spec.options.get("permission_mode") or "default")


def _options(
    spec: HubSpec, setup: ClaudeSetup, asker: PermissionBroker, stderr: deque[str]
) -> ClaudeAgentOptions:
    """Return the options of a program as on the desktop: its system prompt, settings of user and trusted project."""
    return ClaudeAgentOptions(
        cwd=spec.workspace,
        env={**_blanked(spec), **spec.env, **_OWN_ENV, **_bypass_env(spec)},
        # So that the mode can be switched on later. It is off until then.
        extra_args={"allow-dangerously-skip-permissions": None} if _may_bypass(spec) else {},
        model=spec.model or spec.options.get("model"),
        permission_mode=spec.permission_mode or spec.options.get("permission_mode"),  # type: ignore[arg-type]
        cli_path=spec.options.get("cli_path"),
        allowed_tools=[
            f"Read({reading_rule(folder)})" for folder in setup.folders if not _NO_RULE & set(folder)
        ],
        can_use_tool=asker.can_use_tool,
        hooks={"PreToolUse": [HookMatcher(hooks=[asker.hold], timeout=HOLD_S)]},  # type: ignore[list-item]
        include_partial_messages=True,
        setting_sources=["user", "project", "local"] if setup.settled.loads else ["user"],
        system_prompt=_PROMPT if setup.settled.loads else _FRESH_PROMPT,
        max_buffer_size=MAX_MESSAGE_BYTES,
        stderr=lambda line: stderr.append(line[:STDERR_LINE_CHARS]),
    )


def _may_bypass(spec: HubSpec) -> bool:
    return spec.options.get("allow_bypass") is True


def _bypass_env(spec: HubSpec) -> dict[str, str]:
    """Return the variables that the program requires before it lets a superuser work without asking."""
    return {"IS_SANDBOX": "1"} if _may_bypass(spec) and os.geteuid() == 0 else {}


def _blanked(spec: HubSpec) -> dict[str, str]:
    """Return the variables that a delegate must not see of the session's agent, whose environment is this process's own.

    They are set to empty values: the SDK adds to this process's environment and cannot remove anything.
    """
    if TASK_MARKER not in spec.env:
        return {}
    return dict.fromkeys((name for name in os.environ if name not in spec.env and name != MARKER), "")
