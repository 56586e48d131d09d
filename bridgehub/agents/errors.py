"""Errors of the agents' programs, one class for each way to handle them. Claude Code has its own. Needs no SDK."""

from __future__ import annotations

__all__ = [
    "BadOutput",
    "CallRefused",
    "ClaudeBadOutput",
    "ClaudeError",
    "ClaudeExited",
    "ClaudeMissing",
    "CodexDoesNotListen",
    "NotResumed",
    "NotSignedIn",
    "ProgramError",
    "ProgramExited",
    "ProgramMissing",
    "PromptNotSent",
    "PromptNotTaken",
    "WorkspaceGone",
]


class ProgramError(Exception):
    """Root of the errors of one kind of program. The text is for a person."""


class ProgramMissing(ProgramError):
    """There is no program at the path of the configuration, or in the package."""


class ProgramExited(ProgramError):
    """The program ended, or never became ready. The text has its last output."""


class CodexDoesNotListen(ProgramExited):
    """The program ended before it listened on its socket. It may still work on its pipes."""


class PromptNotTaken(ProgramExited):
    """The program ended before it began with the prompt. The same prompt may go to another program."""


class BadOutput(ProgramError):
    """The program wrote a line that is not part of its protocol."""


class CallRefused(ProgramError):
    """The program answered a call with an error. The text is the program's; `code` is the error's number."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class NotResumed(ProgramError):
    """The thread exists but could not be resumed now. It stays the session's, and a later try may succeed."""


class NotSignedIn(ProgramError):
    """The program reports that it has no account."""


class WorkspaceGone(ProgramError):
    """The folder in which the agent works no longer exists."""


class ClaudeError(Exception):
    """Root of the errors of one kind of program. The text is for a person."""


class ClaudeMissing(ClaudeError):
    """There is no program at the path of the configuration or of the SDK. The text names the path."""


class ClaudeExited(ClaudeError):
    """The program ended, or never became ready."""


class PromptNotSent(ClaudeExited):
    """The program ended before the prompt was written. The same prompt may go to another program."""


class ClaudeBadOutput(ClaudeError):
    """The program sent something that the SDK cannot read."""
