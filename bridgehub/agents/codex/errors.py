"""Errors of a Codex program, one class for each way to handle them."""

from __future__ import annotations

__all__ = [
    "CallRefused",
    "CodexBadOutput",
    "CodexDoesNotListen",
    "CodexError",
    "CodexExited",
    "CodexMissing",
    "NotResumed",
    "NotSignedIn",
    "PromptNotTaken",
    "WorkspaceGone",
]


class CodexError(Exception):
    """Root of these errors. The text is for a person."""


class CodexMissing(CodexError):
    """There is no program at the path of the configuration, or in the package."""


class CodexExited(CodexError):
    """The program ended, or never became ready. The text has its last output."""


class CodexDoesNotListen(CodexExited):
    """The program ended before it listened on its socket. It may still work on its pipes."""


class PromptNotTaken(CodexExited):
    """The program ended before it began with the prompt. The same prompt may go to another program."""


class CodexBadOutput(CodexError):
    """The program wrote a line that is not part of its protocol."""


class CallRefused(CodexError):
    """The program answered a call with an error. The text is the program's; `code` is the error's number."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class NotResumed(CodexError):
    """The thread exists but could not be resumed now. It stays the session's, and a later try may succeed."""


class NotSignedIn(CodexError):
    """The program reports that it has no account."""


class WorkspaceGone(CodexError):
    """The folder in which the agent works no longer exists."""
