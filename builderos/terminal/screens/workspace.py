"""The files of a session: what changed, taking it back, and looking at one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from builderos.terminal.draw.diff import changes_lines
from builderos.terminal.draw.lines import Segments, paragraph

if TYPE_CHECKING:
    from builderos.terminal.screens.session import SessionScreen
    from builderos.terminal.widgets.picker import PickerRow

__all__ = ["changes", "files", "redo", "undo"]

MAX_COLOURED = 200_000
"""Characters of a file that is drawn in colours."""


def changes(screen: SessionScreen, rest: str) -> None:
    """Show what the last turn changed, or everything."""
    from builderos.terminal.screens.commands import ask_for
    from builderos.terminal.widgets.viewer import Viewer

    turn = screen.conversation.last_checked
    query = {"turn": turn} if turn is not None and rest != "all" else {}
    title = "Changes of the last turn" if query else "All changes"

    def show(answer: Mapping[str, Any]) -> None:
        screen.app.push_screen(Viewer(title, lambda width: changes_lines(answer, width)))

    ask_for(screen, screen.client.of_session(f"changes?{urlencode(query)}"), show)


def undo(screen: SessionScreen, rest: str) -> None:
    """Take back what the last turn changed."""
    turn = screen.conversation.last_checked
    _ask(
        screen,
        turn,
        "This takes back what the last turn changed. Later changes stay.",
        "Undo",
        turn_id=turn,
        rest=rest,
    )


def redo(screen: SessionScreen, rest: str) -> None:
    """Take back the last undo."""
    undo_id = screen.conversation.last_undo
    _ask(
        screen,
        undo_id,
        "This restores what the undo took back. Later changes stay.",
        "Redo",
        undo_id=undo_id,
        rest=rest,
    )


def _ask(
    screen: SessionScreen, subject: str | None, question: str, yes: str, *, rest: str, **fields: Any
) -> None:
    from builderos.terminal.screens.commands import confirm

    if subject is None:
        screen.app.say("There is nothing to take back yet.")
        return
    force = rest == "force"
    confirm(screen, question, yes, lambda: screen.client.act("undo", force=force, **fields))


def files(screen: SessionScreen, rest: str) -> None:
    """Look for a file by its name, and show it."""
    from builderos.terminal.screens.commands import ask_for, choose

    if rest:
        ask_for(
            screen,
            screen.client.of_session(f"file?{urlencode({'path': rest})}"),
            lambda answer: _show(screen, rest, answer),
        )
        return

    async def search(typed: str) -> Sequence[PickerRow]:
        from builderos.terminal.widgets.picker import PickerRow

        query = {"q": typed} if typed else {"path": ""}
        found = await screen.client.of_session(f"files?{urlencode(query)}")
        names = [
            str(one.get("path") or one.get("name"))
            for one in found.get("entries") or ()
            if isinstance(one, dict) and one.get("kind") == "file"
        ]
        return [PickerRow(name, value=name) for name in names]

    choose(screen, "Look at a file", [], lambda path: files(screen, path), search=search)


def _show(screen: SessionScreen, path: str, answer: Mapping[str, Any]) -> None:
    from builderos.terminal.widgets.viewer import Viewer

    text, language = str(answer.get("content") or ""), str(answer.get("language") or "")

    def draw(width: int) -> list[Segments]:
        if len(text) > MAX_COLOURED or not language:
            return paragraph(text, width)
        from builderos.terminal.draw.rendering import code_lines

        return code_lines(text, language, width, screen.app.code_style)

    screen.app.push_screen(Viewer(path, draw))
