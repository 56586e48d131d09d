"""What can go wrong with a Codex program, told apart by role."""

from __future__ import annotations

__all__ = [
    "BadOutput",
    "CallRefused",
    "CodexError",
    "NotResumed",
    "NotSignedIn",
    "ProgramExited",
    "ProgramMissing",
    "PromptNotTaken",
    "WorkspaceGone",
]


class CodexError(Exception):
    """Root of these errors. The text is for a person."""


class ProgramMissing(CodexError):
    """There is no program where the configuration, or the package, says."""


class ProgramExited(CodexError):
    """The program ended, or never came up; the text has its last words."""


class PromptNotTaken(ProgramExited):
    """It ended before it began with the prompt: the same prompt may be given to another one."""


class BadOutput(CodexError):
    """The program wrote what is no line of its protocol."""


class CallRefused(CodexError):
    """The program answered a call with an error; the text is the program's, `code` the error's number."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class NotResumed(CodexError):
    """The thread is there and could not be taken up now; it stays the session's, and a later try may succeed."""


class NotSignedIn(CodexError):
    """The program says that it has no account."""


class WorkspaceGone(CodexError):
    """The folder in which the agent works is not there any more."""
