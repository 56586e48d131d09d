"""What lies around a session: devices, pairing, the desk, grants, and how the terminal looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from rich.segment import Segment
from rich.style import Style

from builderos.terminal.client import SCOPES
from builderos.terminal.draw.lines import Segments, paragraph

if TYPE_CHECKING:
    from builderos.terminal.screens.session import SessionScreen

__all__ = ["KEYS", "delete", "desk", "devices", "grants", "help_", "mouse", "pair", "take_over", "theme"]

KEYS: Final = (
    ("enter", "sends; shift+enter, alt+enter, ctrl+j or \\ before enter begins a new line"),
    ("up, down", "go through what you sent, from the first and last line of the box"),
    ("@ and /", "complete files and commands; tab takes the row"),
    ("ctrl+p", "all commands"),
    ("ctrl+c", "empties the box, then stops the turn, then leaves"),
    ("esc esc", "edits your last message: a fork before it"),
    ("alt+up", "takes the newest waiting message back"),
    ("tab", "goes to a question that waits, and back; its keys stand in its panel"),
    ("ctrl+o", "unfolds tool calls and thinking; a click unfolds one call"),
    ("ctrl+g", "opens your editor: $VISUAL or $EDITOR"),
    ("page up, page down", "scroll; ctrl+end goes to the newest, ctrl+home to the oldest that is loaded"),
    ("ctrl+f", "goes to a text in the conversation, then to the one before"),
    ("ctrl+t", "the list of sessions"),
    ("ctrl+l", "draws everything again"),
    ("shift and the mouse", "select text in most terminals"),
)

_QR: Final = Style(color="color(16)", bgcolor="color(231)")


def help_(screen: SessionScreen, rest: str) -> None:
    """Show the keys."""
    from builderos.terminal.widgets.viewer import Viewer

    def draw(width: int) -> list[Segments]:
        lines: list[Segments] = []
        for key, meaning in KEYS:
            lines += paragraph(meaning, width, first=Segment(f"{key:<20}", Style(bold=True)))
        return lines

    screen.app.push_screen(Viewer("Keys", draw))


def grants(screen: SessionScreen, rest: str) -> None:
    """Show what was allowed for the session, and take one back."""
    from builderos.terminal.screens.commands import choose

    known = [str(one.get("grant")) for one in screen.conversation.grants]
    if not known:
        screen.app.say("Nothing is allowed for the whole session.")
        return
    rows = [(one, "take it back", one) for one in known]
    choose(
        screen, "Allowed for this session", rows, lambda grant: screen.client.act("revoke_grant", grant=grant)
    )


def delete(screen: SessionScreen, rest: str) -> None:
    """Delete the session, on all devices."""
    from builderos.terminal.screens.commands import ask_for, confirm

    def gone(answer: Mapping[str, Any]) -> None:
        session_id = screen.conversation.session_id
        screen.app.show_list()
        screen.client.sessions.update({"session_id": session_id, "deleted": True})

    def act() -> None:
        ask_for(screen, screen.client.delete(), gone)

    confirm(screen, "This deletes the session and its history on all devices, for good.", "Delete", act)


def devices(screen: SessionScreen, rest: str) -> None:
    """Show who holds a key, and revoke one."""
    from builderos.terminal.screens.commands import ask_for, choose, confirm

    def revoke(device: Mapping[str, Any]) -> None:
        path = f"/api/devices/{device.get('id')}"

        def act() -> None:
            ask_for(screen, screen.client.call("DELETE", path), lambda answer: screen.app.say("Revoked."))

        confirm(screen, f"Revoke {device.get('name')}? Its connections are closed.", "Revoke", act)

    def show(answer: Mapping[str, Any]) -> None:
        found = [one for one in answer.get("devices") or () if isinstance(one, dict)]
        rows = [(str(one.get("name")), f"{_scope_name(one)} · {one.get('id')}", one) for one in found]
        choose(screen, "Devices; enter revokes one", rows, revoke)

    ask_for(screen, screen.client.call("GET", "/api/devices"), show)


def pair(screen: SessionScreen, rest: str) -> None:
    """Show a QR code that makes another device a device of its own."""
    from builderos.terminal.screens.commands import ask_for, choose
    from builderos.terminal.widgets.viewer import Viewer

    def show(answer: Mapping[str, Any]) -> None:
        from builderos.client.terminal import code_rows

        url, until = str(answer.get("url") or ""), str(answer.get("expires_at") or "")
        rows = code_rows(url)

        def draw(width: int) -> list[Segments]:
            lines = paragraph(f"Scan with the other device. Works once, until {until}.", width)
            return [*lines, [], *([Segment(row, _QR)] for row in rows), [], *paragraph(url, width)]

        screen.app.push_screen(Viewer("Pair a device", draw))

    def ask(scope: str) -> None:
        ask_for(screen, screen.client.call("POST", "/api/devices/pair", {"name": None, "scope": scope}), show)

    rows = [(SCOPES[scope], scope, scope) for scope in ("drive", "approve", "view", "admin")]
    choose(screen, "What may the other device do?", rows, ask)


def _scope_name(device: Mapping[str, Any]) -> str:
    scope = str(device.get("scope"))
    return SCOPES.get(scope, scope)


def desk(screen: SessionScreen, rest: str) -> None:
    """Open a session that the person began in a terminal; of one machine, if there are several."""
    from builderos.client.machines import machine_rows
    from builderos.terminal.screens.commands import ask_for, choose

    def ask(machines: list[Mapping[str, Any]]) -> None:
        if machines:
            rows = machine_rows(machines)
            choose(screen, "Terminals of which machine?", rows, lambda machine: _desk_of(screen, machine))
        else:
            _desk_of(screen, None)

    ask_for(screen, screen.client.machines(), ask)


def _desk_of(screen: SessionScreen, machine: Mapping[str, Any] | None) -> None:
    from builderos.client.machines import at_machine
    from builderos.terminal.screens.commands import ask_for, choose

    def open_(one: Mapping[str, Any]) -> None:
        if isinstance(one.get("session_id"), str):
            screen.app.open(one["session_id"])
            return
        path = f"/api/desk/sessions/{one.get('agent')}/{one.get('native_id')}/open"
        ask_for(
            screen,
            screen.client.call("POST", at_machine(path, machine)),
            lambda answer: screen.app.open(str(answer.get("session_id"))),
        )

    def show(answer: Mapping[str, Any]) -> None:
        found = [one for one in answer.get("sessions") or () if isinstance(one, dict)]
        if not found:
            screen.app.say("No session of another program was found.")
            return
        rows = [
            (
                str(one.get("title") or one.get("first_message") or one.get("native_id"))[:100],
                " · ".join(
                    filter(None, (str(one.get("agent")), "open in a terminal" if one.get("where") else ""))
                ),
                one,
            )
            for one in found
        ]
        choose(screen, "Sessions that began in a terminal", rows, open_)

    path = at_machine("/api/desk/sessions", machine, limit=100)
    ask_for(screen, screen.client.call("GET", path), show)


def take_over(screen: SessionScreen, rest: str) -> None:
    """End the terminal's own program, so that this session continues here."""
    screen.client.act("take_over", force=rest == "force")


def theme(screen: SessionScreen, rest: str) -> None:
    """Choose the colours."""
    from builderos.terminal.screens.commands import choose

    rows = [
        ("Dark", "light text on a dark terminal", "dark"),
        ("Light", "dark text on a light terminal", "light"),
    ]
    choose(screen, "Colours", rows, screen.app.set_colours)


def mouse(screen: SessionScreen, rest: str) -> None:
    """Turn the mouse on or off."""
    screen.app.set_mouse(not screen.app.has_mouse)
