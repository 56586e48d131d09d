"""Messages that wait: show them, take one back, send one now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builderos.client.moments import clock_time
from builderos.terminal.model.entries import MessageEntry

if TYPE_CHECKING:
    from builderos.terminal.screens.session import SessionScreen

__all__ = ["cancel", "send_now", "show"]


def show(screen: SessionScreen, rest: str) -> None:
    """Let the person choose a message that waits, and what becomes of it."""
    from builderos.terminal.screens.commands import choose

    found = _waiting(screen)
    if not found:
        screen.app.say("No message waits.")
        return

    def chosen(message: MessageEntry) -> None:
        rows = [("Take it back", "", "cancel"), ("Take it back and edit", "", "edit")]
        if message.not_before:
            rows.append(("Send it now", "", "now"))
        choose(screen, message.text[:60], rows, lambda what: _do(screen, message, what))

    rows = [(one.text[:80], clock_time(one.not_before), one) for one in found]
    choose(screen, "Messages that wait", rows, chosen)


def cancel(screen: SessionScreen, rest: str) -> None:
    """Take the last message that waits back; with a number, that of the list."""
    _with_one(screen, _waiting(screen), rest, "cancel")


def send_now(screen: SessionScreen, rest: str) -> None:
    """Send the last message for later now; with a number, that of the list."""
    _with_one(screen, [one for one in _waiting(screen) if one.not_before], rest, "now")


def _waiting(screen: SessionScreen) -> list[MessageEntry]:
    messages = screen.conversation.timeline.messages.values()
    return [one for one in messages if one.state in {"queued", "waiting"}]


def _with_one(screen: SessionScreen, found: list[MessageEntry], number: str, what: str) -> None:
    place = int(number) if number.isascii() and number.isdigit() and len(number) < 5 else 0
    if not found:
        screen.app.say("No message waits." if what == "cancel" else "No message waits for its time.")
    elif number and not 1 <= place <= len(found):
        screen.app.say(f"There is no message {number}.")
    else:
        _do(screen, found[place - 1], what)


def _do(screen: SessionScreen, message: MessageEntry, what: str) -> None:
    if what == "now":
        screen.client.act("send_now", message_id=message.message_id)
        return
    screen.client.take_back(message.message_id)
    if what == "edit":
        screen.composer.put(message.text)
