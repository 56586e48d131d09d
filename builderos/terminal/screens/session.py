"""The screen of one session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen

from builderos.client.machines import wait_words
from builderos.terminal.draw.entry import Pen
from builderos.terminal.draw.lines import flat
from builderos.terminal.model.entries import AnswerEntry
from builderos.terminal.screens import commands
from builderos.terminal.screens.find import Finder
from builderos.terminal.screens.unread import UnreadLine
from builderos.terminal.screens.writing import HINT, Files, box_label, entered
from builderos.terminal.widgets.bar import Bar, Pending, pending_text, status_text, working_text
from builderos.terminal.widgets.completions import Completions
from builderos.terminal.widgets.composer import Composer
from builderos.terminal.widgets.question import Question
from builderos.terminal.widgets.transcript import Transcript
from builderos.terminal.widgets.work import begin

if TYPE_CHECKING:
    from builderos.terminal.app import TerminalApp
    from builderos.terminal.client import Client

__all__ = ["SessionScreen"]

LEAVE_S: Final = 2.0
"""How long the second Ctrl-C or Escape may take."""

TYPING_S: Final = 1.5
"""A person who pressed a key so recently is typing: a question does not take the focus."""

MAX_DRAFT: Final = 64 * 1024
"""Characters of an unsent text that is kept."""

READ_S: Final = 1.0
"""What is at the end of the screen counts as read after this, as in the web client: each time is written down."""

LAG_S: Final = 1.0
"""How long a lag lasts before it is shown."""


class SessionScreen(Screen[None]):
    """Shows the client's open session, and takes what a person types."""

    app: TerminalApp
    AUTO_FOCUS = ""

    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("ctrl+c", "stop", show=False, priority=True),
        Binding("ctrl+d", "leave", show=False, priority=True),
        Binding("ctrl+p,f1", "palette", show=False, priority=True),
        Binding("ctrl+o", "unfold", show=False, priority=True),
        Binding("ctrl+g", "editor", show=False, priority=True),
        Binding("ctrl+l", "redraw", show=False, priority=True),
        Binding("alt+up", "take_back", show=False, priority=True),
        Binding("escape", "escape", show=False),
        Binding("tab,shift+tab", "switch", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("ctrl+up", "lines(-1)", show=False, priority=True),
        Binding("ctrl+down", "lines(1)", show=False, priority=True),
        Binding("ctrl+end", "newest", show=False, priority=True),
        Binding("ctrl+home", "oldest", show=False, priority=True),
        Binding("ctrl+t", "sessions", show=False, priority=True),
        Binding("ctrl+f", "find", show=False, priority=True),
    ]

    def __init__(self, client: Client) -> None:
        super().__init__()
        assert client.conversation is not None
        self.client, self.conversation = client, client.conversation
        of = self.conversation
        self.pen = Pen(of.name_of, lambda: of.workspace, lambda: wait_words(of.machine))
        self.transcript = Transcript(self.conversation.timeline, self.pen)
        self.pending, self.working = Pending(), Bar(id="working")
        self.question, self.completions = Question(), Completions()
        self.composer = Composer(client.keep.history)
        self.status = Bar(id="status")
        self.files, self.finder = Files(self), Finder(self)
        self.wanted: Callable[[str], None] | None = None
        self._drawn = -1
        self._pressed: tuple[str, float] = ("", 0.0)
        self._ticking = self._is_warm = self._is_reading = False
        self._behind_since = 0.0
        self._unread = UnreadLine(client, self.conversation)
        self._draft: str | None = None
        self._title = ""

    def compose(self) -> Any:
        yield self.transcript
        yield self.pending
        yield self.working
        yield self.question
        yield self.completions
        yield self.composer
        yield self.status

    def on_mount(self) -> None:
        self.composer.completing = self.completions.take
        self.composer.border_subtitle = HINT
        self.composer.disabled = self.client.observe
        if self.client.observe:
            self.composer.border_subtitle = "you watch; nothing is sent"
        self.composer.focus()
        self.transcript.set_look(code_style=self.app.code_style)
        self.changed()
        self.call_after_refresh(self.app.take_keys)

    def on_screen_resume(self) -> None:
        self._focus_question()
        self.changed()

    def part(self) -> None:
        """Leave what is read and what is typed with the session."""
        self._mark_read()
        if self.wanted is None:
            self.keep_draft(self.composer.whole)

    def keep_draft(self, text: str) -> None:
        """Leave an unsent text with the session, for the next device."""
        if text != (self._draft or "") and len(text) <= MAX_DRAFT and self.client.may("drive"):
            self._draft = text
            self.client.wire.act("draft", content=text)

    # ---- what changed ----

    def changed(self) -> None:
        """Draw what is new."""
        conversation = self.conversation
        if conversation.version != self._drawn:
            self._drawn = conversation.version
            self._unread.draw(self.seen)
            self.transcript.draw()
            self.pending.say(pending_text(conversation))
            self._ask()
        if self._draft is None and conversation.agent:
            self._draft = conversation.draft
            if self._draft and not self.composer.text and not self.client.observe:
                self.composer.put(self._draft)
        self._draw_bars()
        if conversation.turn_id is not None and not self._ticking:
            self._ticking = True
            self.set_timer(1.0, self._tick)

    def _tick(self) -> None:
        """Once a second while a turn runs: the time that it takes. Idle there is no clock."""
        self._ticking = False
        self.changed()

    def _draw_bars(self) -> None:
        now = self.client.now()
        working = working_text(self.conversation, now)
        self.working.say(working)
        self.working.display = bool(working.plain)
        wire = self.client.wire
        behind = self._lag(wire.behind)
        self.status.say(status_text(self.conversation, wire.state, behind, observes=self.client.observe))
        title = flat(box_label(self) or self.conversation.title or self.conversation.session_id)[:80]
        if title != self._title:  # the box is drawn again
            self._title = title
            self.composer.border_title = Content(title)  # a plain str would be markup

    def _lag(self, behind: int) -> int:
        """Return how far we are behind once that has lasted."""
        now = self.app.now_s()
        if not behind:
            self._behind_since = 0.0
            return 0
        if not self._behind_since:
            self._behind_since = now
            self.set_timer(LAG_S, self._draw_bars)
        return behind if now - self._behind_since >= LAG_S else 0

    @property
    def seen(self) -> set[str]:
        """What was shown once and is not shown again."""
        return self.app.seen.setdefault(self.conversation.session_id, set())

    def _ask(self) -> None:
        conversation = self.conversation
        shown = self.question.asking
        first = next(iter(conversation.pending.items()), None)
        if first is None or (shown is not None and shown.request_id in conversation.pending):
            asking = shown if first is not None else None
        else:
            self.question.is_view_only = not self.client.may("approve")
            from builderos.terminal.model.asking import Asking  # takes time to load

            asking = Asking(first[0], first[1], self.client.may("drive"))
        if asking is not None and asking.request_id in conversation.refused:
            conversation.refused.discard(asking.request_id)
            self.question.reopen()
        is_new = asking is not None and (shown is None or shown.request_id != asking.request_id)
        had_focus = self.question.has_focus
        self.question.show(asking, conversation.agent, len(conversation.pending))
        if asking is None and (had_focus or shown is not None):
            self.composer.focus()
        elif is_new and self.client.may("approve"):
            self._focus_question()

    def _focus_question(self) -> None:
        """Go to the question, unless the person is typing; then look again in a while."""
        if self.question.asking is None or self.question.has_focus or self.app.screen is not self:
            return
        if not self.client.may("approve"):
            return
        if not self._is_typing():
            self.question.focus()
        elif not self.composer.text and self.wanted is None:
            self.set_timer(TYPING_S, self._focus_question)

    def _is_typing(self) -> bool:
        recently = self.app.now_s() - self.composer.last_key_at < TYPING_S
        return bool(self.composer.text) or recently or self.wanted is not None

    # ---- messages of the widgets ----

    def on_composer_sent(self, event: Composer.Sent) -> None:
        entered(self, event.text)

    def on_composer_typed(self, event: Composer.Typed) -> None:
        self.completions.look(self, event.word)
        if (
            event.text
            and not self._is_warm
            and self.conversation.turn_id is None
            and self.client.may("drive")
        ):
            self._is_warm = self.client.wire.act("warm")

    def on_completions_chosen(self, event: Completions.Chosen) -> None:
        self.composer.complete(event.word, event.replacement)

    def on_question_decided(self, event: Question.Decided) -> None:
        if not self.client.act("decide", request_id=event.request_id, **event.fields):
            self.question.reopen()

    def on_question_wants(self, event: Question.Wants) -> None:
        commands.answer_with(self, event.asking, event.wish)

    def on_question_left(self, event: Question.Left) -> None:
        self.composer.focus()
        if event.text:
            self.composer.insert(event.text)

    def on_transcript_shown(self) -> None:
        self.app.release()

    def on_transcript_top_seen(self) -> None:
        if self.client.may_load_older:
            begin(self, self.client.load_older, "older")

    def on_transcript_end_seen(self) -> None:
        if not self._is_reading and self.app.app_focus:
            self._is_reading = True
            self.set_timer(READ_S, self._mark_read)

    def on_app_focus(self) -> None:
        self.on_transcript_end_seen()

    def _mark_read(self) -> None:
        self._is_reading = False
        if self.transcript.follows and self.app.app_focus:
            self.client.mark_read()

    # ---- keys ----

    def action_stop(self) -> None:
        """Stop the turn; without one empty the box; pressed twice, leave."""
        if self.composer.text or self.wanted is not None:
            self.wanted = None
            self.composer.clear_all()
            self._draw_bars()
            return
        if self.conversation.turn_id is not None and not self._again("ctrl+c"):
            self.client.act("interrupt", turn_id=self.conversation.turn_id)
        elif self._again("ctrl+c"):
            self.app.leave()
            return
        else:
            self.app.say("Press ctrl+c again to leave.", LEAVE_S)
        self._pressed = ("ctrl+c", self.app.now_s())

    def action_leave(self) -> None:
        """Leave if nothing is typed."""
        if not self.composer.text:
            self.app.leave()
        else:
            self.composer.action_delete_right()

    def action_escape(self) -> None:
        """Leave what is open; twice: edit the last message."""
        if self.wanted is not None:
            self.wanted = None
            self.composer.clear_all()
            self._draw_bars()
        elif self._again("escape"):
            self._pressed = ("", 0.0)
            commands.edit_last(self)
            return
        elif not self.composer.text:
            self.app.say("Press escape again to edit your last message.", LEAVE_S)
        self._pressed = ("escape", self.app.now_s())

    def _again(self, key: str) -> bool:
        return self._pressed[0] == key and self.app.now_s() - self._pressed[1] < LEAVE_S

    def action_palette(self) -> None:
        """Open the command palette."""
        commands.open_palette(self)

    def action_unfold(self) -> None:
        """Show tool calls and thinking whole, or folded."""
        self.transcript.set_look(unfolded=not self.transcript.unfolded)

    def action_editor(self) -> None:
        """Write in an editor of the person's own."""
        text = self.app.edit(self.composer.whole)
        if text is not None:
            self.composer.put(text)

    def action_redraw(self) -> None:
        """Draw everything again."""
        self.refresh(layout=True, repaint=True)

    def action_take_back(self) -> None:
        """Take the newest waiting message back, into the box."""
        own = [
            one for one in self.conversation.timeline.messages.values() if one.state in {"queued", "waiting"}
        ]
        if not own:
            self.app.say("No message waits.")
            return
        self.client.take_back(own[-1].message_id)
        if not self.composer.text:
            self.composer.put(own[-1].text)

    def action_switch(self) -> None:
        """Go from the text to the question and back."""
        target = (
            self.question
            if self.question.asking is not None and not self.question.has_focus
            else self.composer
        )
        target.focus()

    def action_page(self, by: int) -> None:
        """Scroll by a page."""
        self.transcript.scroll_lines(by * max(1, self.transcript.size.height - 2))

    def action_lines(self, by: int) -> None:
        """Scroll by lines."""
        self.transcript.scroll_lines(by * 2)

    def action_newest(self) -> None:
        """Go to the end."""
        self.transcript.to_end()

    def action_oldest(self) -> None:
        """Go to the beginning of what is known."""
        self.transcript.scroll_lines(-self.transcript.layout_of.total)

    def action_find(self) -> None:
        """Go to the place before that has the same text, or ask for the text."""
        self.finder.again()

    def action_sessions(self) -> None:
        """Go to the list of sessions."""
        self.app.show_list()

    def want(self, label: str, text: str, take: Callable[[str], None]) -> None:
        """Let the person write something else than a message."""
        self.wanted = take
        self.wanted_label = label
        self.composer.put(text)
        self.composer.focus()
        self._draw_bars()

    wanted_label = ""

    def last_answer(self) -> AnswerEntry | None:
        """Return the newest answer that has ended."""
        entries = reversed(self.conversation.timeline.entries)
        return next(
            (one for one in entries if isinstance(one, AnswerEntry) and one.status != "running"), None
        )

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.transcript.scroll_lines(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.transcript.scroll_lines(3)
