"""What can go wrong with a Claude Code program, told apart by role. Needs no SDK."""

from __future__ import annotations

__all__ = ["BadOutput", "ClaudeError", "ProgramExited", "ProgramMissing", "PromptNotSent"]


class ClaudeError(Exception):
    """Root of these errors. The text is for a person."""


class ProgramMissing(ClaudeError):
    """There is no program where the configuration, or the SDK, says; the text names the place."""


class ProgramExited(ClaudeError):
    """The program ended, or never came up."""


class PromptNotSent(ProgramExited):
    """It was gone before the prompt was written: the same prompt may be given to another one."""


class BadOutput(ClaudeError):
    """The program said what the SDK cannot read."""
