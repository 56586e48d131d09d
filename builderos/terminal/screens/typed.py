"""What Enter does: a message, a command of ours, or whatever else the person was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builderos.terminal.screens.commands import BY_SLASH

if TYPE_CHECKING:
    from builderos.terminal.screens.session import SessionScreen

__all__ = ["COMMANDS", "entered", "label"]

COMMANDS: Final = {slash: command.name for slash, command in BY_SLASH.items()}
"""Our own commands and what they do."""


def entered(screen: SessionScreen, text: str) -> None:
    """Take what stands in the box."""
    if screen.wanted is not None:
        take, screen.wanted = screen.wanted, None
        screen.composer.clear_all()
        screen.composer.last_key_at = 0.0
        take(text.strip())
        screen.changed()
        return
    text = text.strip("\n")
    if not text.strip():
        return
    word, _, rest = text.partition(" ")
    command = BY_SLASH.get(word) if "\n" not in text else None
    if command is not None and (command.takes_text or not rest.strip()):
        screen.composer.clear_all()
        screen.client.keep.remember(text)
        command.act(screen, rest.strip())
        return
    text_sent = text.removeprefix("/") if text.startswith("//") else text
    if screen.client.send(text_sent, files=screen.files.addresses):
        screen.files.clear()
        screen.client.keep.remember(text)
        screen.composer.clear_all()
        screen.keep_draft("")
        screen.composer.last_key_at = 0.0  # nobody is typing any more
        screen.transcript.to_end()


def label(screen: SessionScreen) -> str:
    """Return what the box is for, if it is not for a message."""
    return f"{screen.wanted_label} · enter accepts, esc leaves" if screen.wanted is not None else ""
