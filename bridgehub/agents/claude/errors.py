"""Errors of a Claude Code program, one class for each way to handle them. Needs no SDK."""

from __future__ import annotations

__all__ = ["ClaudeBadOutput", "ClaudeError", "ClaudeExited", "ClaudeMissing", "PromptNotSent"]


class ClaudeError(Exception):
    """Root of these errors. The text is for a person."""


class ClaudeMissing(ClaudeError):
    """There is no program at the path of the configuration or of the SDK. The text names the path."""


class ClaudeExited(ClaudeError):
    """The program ended, or never became ready."""


class PromptNotSent(ClaudeExited):
    """The program ended before the prompt was written. The same prompt may go to another program."""


class ClaudeBadOutput(ClaudeError):
    """The program sent something that the SDK cannot read."""
