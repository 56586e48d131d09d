"""What a person can do with a session, by the palette or by a slash: one list for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import attrs

from builderos.client.moments import FORMS, moment_of
from builderos.client.state import RefusedError
from builderos.client.steering import SETTINGS
from builderos.client.wire.server import LinkLostError, NoServerError
from builderos.terminal.model.entries import AnswerEntry, MessageEntry
from builderos.terminal.widgets.work import begin

if TYPE_CHECKING:
    from builderos.terminal.model.asking import Asking, Wish
    from builderos.terminal.screens.session import SessionScreen

__all__ = ["BY_SLASH", "Command", "answer_with", "ask_for", "choose", "edit_last", "open_palette"]

Act = Callable[["SessionScreen", str], None]

_TAKING: Final = frozenset({
    "/mode", "/model", "/effort", "/steer", "/later", "/attach", "/cancel", "/sendnow", "/changes", "/undo",
    "/redo", "/files", "/rename", "/find", "/takeover",
})  # fmt: skip
"""The words that a text may stand behind."""


@attrs.frozen
class Command:
    """One of them. `rest` of `act` is what stands behind the slash word."""

    slash: str
    name: str
    act: Act
    key: str = ""

    @property
    def takes_text(self) -> bool:
        """Whether something may stand behind it. Otherwise such a line is a message: its text must not be lost."""
        return self.slash in _TAKING


def choose(
    screen: SessionScreen,
    title: str,
    rows: list[tuple[str, str, Any]],
    take: Callable[[Any], object],
    **how: Any,
) -> None:
    """Let the person choose one of the rows: name, hint, value."""
    from builderos.terminal.widgets.picker import Picker, PickerRow

    def chosen(value: Any) -> None:
        if value is not None:
            take(value)

    screen.app.push_screen(Picker(title, [PickerRow(*row) for row in rows], **how), chosen)


def confirm(screen: SessionScreen, question: str, yes: str, act: Callable[[], object]) -> None:
    """Ask before something that cannot be taken back easily."""
    choose(screen, question, [(yes, "", True), ("Cancel", "", False)], lambda value: act() if value else None)


def ask_for(screen: SessionScreen, work: Awaitable[Any], take: Callable[[Any], None]) -> None:
    """Wait for an answer of the server without holding up the screen; say it if it refuses."""

    async def run() -> None:
        try:
            found = await work
        except RefusedError as error:
            screen.app.say(str(error))
        except (LinkLostError, NoServerError) as error:
            screen.app.say(f"Can't reach the server: {error}")
        else:
            take(found)

    begin(screen, run, "asks")


def open_palette(screen: SessionScreen) -> None:
    """Show all commands, and the sessions to go to."""
    rows = [(one.name, " ".join(filter(None, (one.slash, one.key))), one) for one in BY_SLASH.values()]
    choose(screen, "What should happen?", rows, lambda command: command.act(screen, ""))


# ---- settings ----


def _setting(name: str) -> Act:
    def act(screen: SessionScreen, rest: str) -> None:
        steering = screen.conversation.steering
        if rest:
            screen.client.act("configure", settings={SETTINGS[name]: None if rest == "-" else rest})
            return
        now = steering.settings.get(SETTINGS[name])
        rows = [
            (called, " · ".join(filter(None, ("now" if one == now else "", about))), one)
            for one, called, about in steering.offered(name)
        ]
        rows.append(("As the agent has it", "", "-"))
        choose(screen, f"Choose the {name}", rows, lambda value: act(screen, value))

    return act


def _plan(screen: SessionScreen, rest: str) -> None:
    mode = screen.conversation.steering.plan_mode()
    if mode is None:
        screen.app.say("This agent has named no mode for planning.")
    else:
        screen.client.act("configure", settings={SETTINGS["mode"]: mode})


def _status(screen: SessionScreen, rest: str) -> None:
    screen.app.say(screen.conversation.steering.status())


# ---- messages ----


def _later(screen: SessionScreen, rest: str) -> None:
    typed, _, text = rest.partition(" ")
    text = text.strip() or screen.composer.whole
    if not typed:
        screen.want(f"When, and what? TIME TEXT, TIME is {FORMS}", text, lambda given: _later(screen, given))
        return
    at = moment_of(typed, screen.client.now().astimezone())
    if at is None or not text:
        screen.app.say(f"Not sent: it is TIME TEXT, and TIME is {FORMS}.")
        screen.composer.put(rest)
    else:
        screen.client.send(text, at=at)


def _steer(screen: SessionScreen, rest: str) -> None:
    text = rest or screen.composer.whole
    if not text:
        screen.want(
            "What should the agent know now?", "", lambda given: _steer(screen, given) if given else None
        )
    elif screen.client.send(text, mode="steer"):
        screen.composer.clear_all()


def _interrupt(screen: SessionScreen, rest: str) -> None:
    turn_id = screen.conversation.turn_id
    screen.client.act("interrupt", **({"turn_id": turn_id} if turn_id else {}))


def _background(screen: SessionScreen, rest: str) -> None:
    running = [one for one in screen.conversation.tasks.values() if one.background and one.state == "running"]
    rows = [(one.title, one.progress, one.task_id) for one in running]
    choose(
        screen,
        "Stop work in the background",
        rows,
        lambda task_id: screen.client.act("stop_task", task_id=task_id),
    )


def _unknown(screen: SessionScreen, rest: str) -> None:
    unknown = [one for one in screen.conversation.timeline.messages.values() if one.state == "unknown"]
    rows = [
        (f"{words}: {one.text[:60]}", "", (one.message_id, action))
        for one in unknown
        for words, action in (("Send again", "retry"), ("Discard", "discard"))
    ]
    choose(
        screen,
        "Messages that the agent may not have got",
        rows,
        lambda value: screen.client.act("resolve", message_id=value[0], action=value[1]),
    )


# ---- the conversation ----


def edit_last(screen: SessionScreen) -> None:
    """Edit the last message and send it again: a fork before its turn. One that still waits is taken back."""
    own = [
        one
        for one in screen.conversation.timeline.entries
        if isinstance(one, MessageEntry) and one.state != "cancelled"
    ]
    if not own:
        screen.app.say("There is no message to edit.")
        return
    message = own[-1]
    if message.state in {"queued", "waiting"}:
        screen.client.take_back(message.message_id)
        screen.composer.put(message.text)
        return
    before = screen.conversation.timeline.before(message)
    if before is None and screen.conversation.timeline.first_seq > 1:
        screen.app.say("Scroll up first: what was before this message is not loaded.")
        return
    _fork_after(screen, before, message.text)


def _fork_after(screen: SessionScreen, after: AnswerEntry | None, text: str) -> None:
    made = f"s-{screen.client.new_id().replace('-', '')[:12]}"
    body: dict[str, Any] = {"after_turn": after.turn_id if after else None, "session_id": made}
    if screen.conversation.title:
        body["title"] = f"{screen.conversation.title} (fork)"[:200]
    ask_for(
        screen,
        screen.client.of_session("fork", "POST", body),
        lambda answer: screen.app.open(str(answer.get("session_id") or made), text=text),
    )


def _fork(screen: SessionScreen, rest: str) -> None:
    answer = screen.last_answer()
    if answer is None:
        screen.app.say("No turn has ended yet, so there is nothing to fork.")
    else:
        _fork_after(screen, answer, "")


def _rename(screen: SessionScreen, rest: str) -> None:
    if rest:
        screen.client.act("rename", title=rest)
    else:
        screen.want(
            "Title", screen.conversation.title, lambda given: _rename(screen, given) if given else None
        )


def _organize(**what: bool) -> Act:
    def act(screen: SessionScreen, rest: str) -> None:
        if screen.client.act("organize", **what):
            screen.app.say("Done.")

    return act


def _renew(screen: SessionScreen, rest: str) -> None:
    screen.client.act("renew")


def _compact(screen: SessionScreen, rest: str) -> None:
    screen.client.send("/compact")


def _copy(screen: SessionScreen, rest: str) -> None:
    answer = screen.last_answer()
    if answer is not None and answer.text:
        screen.app.copy_to_clipboard(answer.text)
        screen.app.say("Copied, if the terminal allows it.")


def _continue(screen: SessionScreen, rest: str) -> None:
    """Continue once a usage limit is over. Two devices that ask for it make one message."""
    answer = screen.last_answer()
    if answer is None or not answer.resets_at:
        screen.app.say("No limit is in the way.")
        return
    at = datetime.fromisoformat(answer.resets_at)
    screen.client.send("Continue.", at=at, message_id=f"continue-{answer.turn_id}")


def _retry(screen: SessionScreen, rest: str) -> None:
    answer = screen.last_answer()
    messages = screen.conversation.timeline.messages.values()
    again = [one for one in messages if answer is not None and one.turn_id == answer.turn_id]
    if answer is None or answer.status == "complete" or not again:
        screen.app.say("The last turn did not fail.")
    for one in again if answer is not None and answer.status != "complete" else ():
        screen.client.send(one.text)


def answer_with(screen: SessionScreen, asking: Asking, wish: Wish) -> None:
    """Get what a key of a question needs, then answer it."""

    def decide(**fields: Any) -> None:
        screen.client.act("decide", request_id=asking.request_id, **fields)

    def other(text: str) -> None:
        fields = asking.other(text)
        if fields is not None:
            decide(**fields)
        else:
            screen.question.redraw()
            screen.question.focus()

    if wish.kind == "reason":
        screen.want(
            "Tell the agent why", "", lambda text: decide(decision="deny", **({"note": text} if text else {}))
        )
    elif wish.kind == "edit":
        screen.want(
            f"Edit the {wish.field}",
            wish.text,
            lambda text: decide(decision="allow", input={wish.field: text}),
        )
    elif wish.kind == "other":
        screen.want("Your answer", "", other)
    else:
        offered = screen.conversation.steering.offered("mode")
        wanted = [one for one in offered if not wish.modes or one[0] in wish.modes]
        rows = [(name, about, one) for one, name, about in wanted]
        choose(
            screen, "Allow, and change the mode to", rows, lambda mode: decide(decision="allow", mode=mode)
        )


def _all() -> list[Command]:
    from builderos.terminal.screens import around, find, waiting, workspace, writing

    return [
        Command("/mode", "Change the mode: what the agent may do without asking", _setting("mode")),
        Command("/model", "Change the model", _setting("model")),
        Command("/effort", "Change the effort", _setting("effort")),
        Command("/plan", "Have the agent plan first and change nothing", _plan),
        Command("/status", "Show settings, context, cost and limits", _status),
        Command("/interrupt", "Stop the turn", _interrupt, "ctrl+c"),
        Command("/background", "Stop work in the background", _background),
        Command("/steer", "Send into the running turn", _steer),
        Command("/later", "Send at a time", _later),
        Command("/attach", "Send a file with the next message", writing.attach),
        Command("/detach", "Send the next message without files", writing.detach),
        Command("/draft", "Take what another device is writing into the box", writing.take_draft),
        Command("/queue", "Show messages that wait; take one back", waiting.show, "alt+up"),
        Command("/cancel", "Take the last message that waits back", waiting.cancel),
        Command("/sendnow", "Send the last message for later now", waiting.send_now),
        Command("/unknown", "Decide about messages that the agent may not have got", _unknown),
        Command("/continue", "Continue when the usage limit is over", _continue),
        Command("/retry", "Send the message of a failed turn again", _retry),
        Command("/changes", "Show what the last turn changed; all: everything", workspace.changes),
        Command("/undo", "Take the last turn's changes back", workspace.undo),
        Command("/redo", "Take the last undo back", workspace.redo),
        Command("/files", "Look at a file", workspace.files),
        Command("/fork", "Make a new session with the history so far", _fork),
        Command(
            "/edit",
            "Edit the last message and send it again",
            lambda screen, rest: edit_last(screen),
            "esc esc",
        ),
        Command("/compact", "Shorten the context", _compact),
        Command("/renew", "Start the agent again, with the history as text", _renew),
        Command("/rename", "Change the title", _rename),
        Command("/pin", "Put the session at the top of the list", _organize(pinned=True)),
        Command("/unpin", "Put it back", _organize(pinned=False)),
        Command("/archive", "Take the session out of the list", _organize(archived=True)),
        Command("/unarchive", "Put it back into the list", _organize(archived=False)),
        Command("/delete", "Delete the session with its history and files", around.delete),
        Command("/grants", "Show what is allowed for this session; take it back", around.grants),
        Command("/copy", "Copy the last answer", _copy),
        Command("/find", "Go to a text in the conversation", find.find, "ctrl+f"),
        Command(
            "/sessions", "Go to the list of sessions", lambda screen, rest: screen.app.show_list(), "ctrl+t"
        ),
        Command("/desk", "Open a session that began in a terminal", around.desk),
        Command("/takeover", "Take this session over from a terminal", around.take_over),
        Command("/devices", "Show the devices; revoke one", around.devices),
        Command("/pair", "Pair a device by QR code", around.pair),
        Command(
            "/unfold",
            "Show tool calls and thinking whole, or folded",
            lambda screen, rest: screen.action_unfold(),
            "ctrl+o",
        ),
        Command("/theme", "Colours for a dark or a light terminal", around.theme),
        Command("/mouse", "Turn the mouse on or off", around.mouse),
        Command("/help", "Show the keys", around.help_),
        Command("/quit", "Leave; the session continues", lambda screen, rest: screen.app.leave(), "ctrl+d"),
    ]


BY_SLASH: Final = {one.slash: one for one in _all()}
