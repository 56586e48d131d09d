"""Errors of a Claude Code program, one class for each way to handle them. Needs no SDK."""

from __future__ import annotations

__all__ = ["BadOutput", "ClaudeError", "ProgramExited", "ProgramMissing", "PromptNotSent"]


class ClaudeError(Exception):
    """Root of these errors. The text is for a person."""


class ProgramMissing(ClaudeError):
    """There is no program at the path of the configuration or of the SDK. The text names the path."""


class ProgramExited(ClaudeError):
    """The program ended, or never became ready."""


class PromptNotSent(ProgramExited):
    """The program ended before the prompt was written. The same prompt may go to another program."""


class BadOutput(ClaudeError):
    """The program sent something that the SDK cannot read."""
