"""What a person writes: what Enter does with it, the files that go with it, and what another device is writing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from builderos.terminal.draw.lines import flat

if TYPE_CHECKING:
    from builderos.terminal.screens.session import SessionScreen

__all__ = ["HINT", "Files", "attach", "box_label", "detach", "entered", "take_draft"]

HINT: Final = "enter sends · ctrl+p commands · ctrl+c stops"

MAX_FILES: Final = 20
"""Of one message."""


@attrs.frozen
class _Uploaded:
    name: str
    address: str


@attrs.define(eq=False)
class Files:
    """What was uploaded and goes with the next message. The box shows it."""

    screen: SessionScreen
    _uploaded: list[_Uploaded] = attrs.field(factory=list)

    @property
    def addresses(self) -> Sequence[str]:
        """Return by what a message names them."""
        return [one.address for one in self._uploaded]

    def add(self, name: str, address: str) -> None:
        """Have one more go with the next message."""
        self._uploaded.append(_Uploaded(name, address))
        self._show()

    def clear(self) -> None:
        """Have none go with it."""
        self._uploaded.clear()
        self._show()

    def _show(self) -> None:
        names = ", ".join(flat(one.name) for one in self._uploaded)
        words = f"with {names} · /detach sends without" if names else HINT
        self.screen.composer.border_subtitle = words.replace("[", "\\[")  # or it would be markup


def entered(screen: SessionScreen, text: str) -> None:
    """Take what stands in the box: a message, a command of ours, or whatever else the person was asked for."""
    from builderos.terminal.screens.commands import BY_SLASH

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


def box_label(screen: SessionScreen) -> str:
    """Return what the box is for, if it is not for a message."""
    return f"{screen.wanted_label} · enter accepts, esc leaves" if screen.wanted is not None else ""


def attach(screen: SessionScreen, rest: str) -> None:
    """Upload a file, so that the next message has it."""
    from builderos.terminal.screens.commands import ask_for

    if not rest:
        screen.want("Path of the file", "", lambda given: attach(screen, given) if given else None)
        return
    if not screen.client.may("drive"):
        screen.app.say("View only: this device can't send files.")
        return
    if len(screen.files.addresses) >= MAX_FILES:
        screen.app.say(f"A message takes at most {MAX_FILES} files.")
        return
    path = Path(rest.strip("'\"")).expanduser()
    screen.app.say(f"Uploading {path.name} …")

    def done(address: str) -> None:
        screen.files.add(path.name, address)
        screen.app.say(f"{path.name} goes with the next message.")

    ask_for(screen, screen.client.upload(path), done)


def detach(screen: SessionScreen, rest: str) -> None:
    """Send the next message without files."""
    screen.files.clear()


def take_draft(screen: SessionScreen, rest: str) -> None:
    """Put what another device is writing into the box."""
    if screen.conversation.draft:
        screen.composer.put(screen.conversation.draft)
    else:
        screen.app.say("No other device is writing.")
