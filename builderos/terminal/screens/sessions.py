"""The list of sessions: live, to search, to open, to begin a new one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from builderos.client.machines import at_machine, machine_rows
from builderos.terminal.draw.lines import flat
from builderos.terminal.model.sessions import hint_of, name_of
from builderos.terminal.widgets.bar import Bar
from builderos.terminal.widgets.picker import Picker, PickerRow, prompt, ranked
from builderos.terminal.widgets.work import begin

if TYPE_CHECKING:
    from builderos.terminal.app import TerminalApp
    from builderos.terminal.client import Client

__all__ = ["SessionsScreen"]

SEARCH_AFTER_S: Final = 0.3
"""A person who types on makes the next search."""

SEARCHED: Final = 3
"""Letters from which on what was said is searched too."""

_MARKS: Final = {
    "running": ("▶ ", "green"),
    "waiting": ("? ", "yellow"),
    "failed": ("✗ ", "red"),
}


class SessionsScreen(Screen[None]):
    """Shows the client's list."""

    app: TerminalApp
    AUTO_FOCUS = ""

    CSS = """
    SessionsScreen Input { border: round $primary; height: 3; }
    SessionsScreen OptionList { height: 1fr; border: none; background: transparent; }
    """

    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("ctrl+n", "new", show=False, priority=True),
        Binding("ctrl+c,ctrl+d", "leave", show=False, priority=True),
        Binding("escape", "back", show=False),
        Binding("ctrl+r", "archived", show=False, priority=True),
    ]

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.search = Input(placeholder="Search", compact=True)
        self.search.cursor_blink = False
        self.list = OptionList(markup=False, compact=True)
        self.list.can_focus = False
        self.status = Bar()
        self._shown: list[str] = []
        self._drawn: tuple[object, ...] = ()
        self._hits: list[PickerRow] = []
        self._archived = False
        self._loaded: object = None

    def compose(self) -> Any:
        yield self.search
        yield self.list
        yield self.status

    def on_mount(self) -> None:
        self.search.border_title = "Sessions"
        self.search.border_subtitle = "enter opens · ctrl+n new · ctrl+r archived · ctrl+c leaves"
        self.search.focus()
        self.client.wire.watch()
        self.changed()
        self.call_after_refresh(self.app.take_keys)

    def load(self) -> None:
        """Fetch the list."""
        begin(self, self.client.load_sessions, "list", instead=True)

    def changed(self) -> None:
        """Draw what is new."""
        wire = self.client.wire
        self.status.say(Text(f"{wire.state} · {len(self.client.sessions.entries)} sessions", "dim"))
        if wire.ready is not self._loaded:
            self._loaded = wire.ready  # a new connection: what changed in between is not known
            self.load()
        version = (self.client.sessions.version, self.search.value, len(self._hits), self._archived)
        if version == self._drawn:
            return
        self._drawn = version
        now = self.client.now()
        known = self.client.sessions.listed(archived=self._archived)
        rows = [PickerRow(name_of(one), hint_of(one, now), one) for one in known]
        self._fill([*ranked(rows, self.search.value), *self._hits])

    def _fill(self, rows: Sequence[PickerRow]) -> None:
        at = self.list.highlighted
        before = self._shown[at] if at is not None and at < len(self._shown) else None
        self._shown = [str(one.value.get("session_id")) for one in rows]
        self.list.clear_options()
        self.list.add_options(
            [Option(_line(one)) for one in rows] or [Option(Text("no session", "dim"), disabled=True)]
        )
        if rows:
            self.list.highlighted = self._shown.index(before) if before in self._shown else 0

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._hits = []
        self.changed()
        begin(self, partial(self._find, event.value.strip()), "search", instead=True)

    async def _find(self, typed: str) -> None:
        if len(typed) < SEARCHED:
            return
        await asyncio.sleep(SEARCH_AFTER_S)
        found = await self.client.call("GET", f"/api/search?{urlencode({'q': typed})}")
        hits = [one for one in found.get("hits") or () if isinstance(one, dict)]
        named = self.client.sessions.entries
        self._hits = [
            PickerRow(
                flat(str(one.get("snippet"))),
                f"said in {name_of(named.get(str(one.get('session_id')), one))}",
                one,
            )
            for one in hits[:20]
        ]
        self.changed()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._open(self.list.highlighted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._open(event.option_index)

    def _open(self, at: int | None) -> None:
        if at is not None and at < len(self._shown):
            self.app.open(self._shown[at])

    def on_key(self, event: events.Key) -> None:
        moves: dict[str, Callable[[], None]] = {
            "up": self.list.action_cursor_up,
            "down": self.list.action_cursor_down,
            "pageup": self.list.action_page_up,
            "pagedown": self.list.action_page_down,
        }
        if event.key in moves:
            event.stop()
            moves[event.key]()

    def action_leave(self) -> None:
        """End the program."""
        self.app.leave()

    def action_back(self) -> None:
        """Empty the search."""
        self.search.value = ""

    def action_archived(self) -> None:
        """Show what was archived, or what was not."""
        self._archived = not self._archived
        self.search.border_title = "Archived sessions" if self._archived else "Sessions"
        if self._archived:
            begin(self, self._load_archived, "list")
        self.changed()

    async def _load_archived(self) -> None:
        found = await self.client.call("GET", "/api/sessions?archived=true&limit=500")
        for one in found.get("sessions") or ():
            if isinstance(one, dict):
                self.client.sessions.update({**one, "archived": True})
        self.changed()

    def action_new(self) -> None:
        """Begin a new session: machine if there are several, agent, folder."""
        begin(self, self._new, "new", instead=True)

    async def _new(self) -> None:
        machines = await self.client.machines()
        title = "New session: on which machine?"
        machine: Any = await self._choose(title, machine_rows(machines)) if machines else {}
        if machine is None:
            return
        ready = self.client.wire.ready
        agents = ready.body.get("agents") if ready is not None else None
        names = [(one, "", one) for one in agents or () if isinstance(one, str)]
        agent = await self._choose("New session: which agent?", names)
        if agent is None:
            return
        folder = await self._choose("In which folder?", await self._folders(machine))
        if folder is not None:
            made = f"s-{self.client.new_id().replace('-', '')[:12]}"
            settings = folder | ({"node": machine["id"]} if machine else {})
            self.app.open(made, agent=agent, settings=settings)

    async def _choose(self, title: str, rows: Sequence[tuple[str, str, Any]]) -> Any:
        return await self.app.push_screen_wait(Picker(title, [PickerRow(*row) for row in rows]))

    async def _folders(self, machine: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the folders that a new session may work in; of a machine, if there are several."""
        here = os.getcwd() if self.client.is_own and machine.get("state", "here") == "here" else None
        rows: list[tuple[str, str, dict[str, Any]]] = [("The server's workspace", "", {})]
        if here is not None:
            rows.insert(0, (here, "this folder", {"workspace": here}))
        try:
            known: Mapping[str, Any] = await self.client.call("GET", at_machine("/api/folders", machine))
        except Exception:
            known = {}
        for name, hint in (("recent", "recent"), ("folders", "")):
            paths = [one.get("path") for one in known.get(name) or () if isinstance(one, dict)]
            rows += [(str(one), hint, {"workspace": one}) for one in paths if one and one != here]
        return rows


def _line(row: PickerRow) -> Text:
    mark, style = _MARKS.get(str(row.value.get("state")), ("  ", ""))
    return Text(mark, style, no_wrap=True, overflow="ellipsis").append_text(prompt(row))
