"""The permission requests of a session on a terminal: one at a time is asked. Pure.

A letter answers the request that is shown, never another one. Allowing is offered only if the whole request is shown.
A question to the person is answered in words (`questions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import orjson

from actors.session.steps.decision_steps import own_options
from builderos.client.questions import AskedQuestion, questions_of
from builderos.client.terminal import one_line, sanitise
from transport.request_text import TRUST, lists_all, shown_input, trust_lines, visible

__all__ = ["Asked", "Replied", "RequestAnswer", "WaitingRequests", "asked_of", "brief"]

BRIEF: Final = 160
"""Code points of a tool's input on a line of its own."""

SHOWN: Final = 4_000
"""Code points of a request's input that are shown; a longer request cannot be allowed here."""

SHOWN_LINES: Final = 60
"""Lines of a request's input: as many as a person still scrolls back to."""

TRUST_LINES: Final = 300
"""Lines of a trust request: most of what a folder would run takes a line each."""

TRUST_OFFER: Final = "trust this folder? y, or n to continue without its settings; /interrupt ends the turn"

PLAN_CHARS: Final = 20_000
PLAN_LINES: Final = 300
"""The same of a plan, which is written to be read."""

PLAN_OFFER: Final = "approve it? y, y MODE to change the mode too, n, or n WORDS for another plan"

COLUMNS: Final = 100
"""Code points of a line. Each line of a request begins with our own prefix."""


@attrs.frozen
class Asked:
    """One request.

    Attributes:
        brief: its subject, on one line.
        lines: its content.
        is_whole: `lines` are the whole content.
        offer: the answers that a person may give to a whole request.
        grant: the lines that describe what "for this session" allows; empty if that is not offered.
        options: what the agent offers in its own words; chosen by number.
        is_plan: it is a plan, whose answer may have a mode or words.
        questions: what it asks the person instead of for a right.
    """

    brief: str
    lines: tuple[str, ...]
    is_whole: bool
    grant: tuple[str, ...]
    offer: str = "allow it? y or n"
    options: tuple[str, ...] = ()
    is_plan: bool = False
    questions: tuple[AskedQuestion, ...] = ()

    def question(self, place: int) -> str:
        """Return one of its questions, as lines that begin with `?`."""
        lines = self.questions[place].lines(place + 1, len(self.questions))
        return "\n".join(f"? {part}" for line in lines for part in _wrapped(line))

    @property
    def text(self) -> str:
        """The whole question, as lines that begin with `?`."""
        if self.questions:
            return "\n".join([*(f"? {line}" for line in self.lines), self.question(0)])
        if not self.is_whole:
            offer = ["too long to show here, so it cannot be allowed here: use another device, or n to deny"]
        elif self.grant:
            offer = ["a allows, for this session:", *self.grant, "allow it? y, n, or a for this session"]
        else:
            offer = [self.offer]
        if self.is_whole:
            numbered = (f"  {number} {visible(one)}" for number, one in enumerate(self.options, 1))
            offer = [*(part for line in numbered for part in _wrapped(line)), *offer]
        return "\n".join(f"? {line}" for line in (*self.lines, *offer))

    def option(self, line: str) -> str | None:
        """Return the option that a line chooses by its number; None if it is not such a number."""
        number = int(line) if line.isascii() and line.isdigit() and len(line) <= 2 else 0
        return self.options[number - 1] if self.is_whole and 0 < number <= len(self.options) else None

    def refusal(self, letter: str) -> str | None:
        """Return why a letter cannot answer this request; None if it can."""
        if letter != "n" and not self.is_whole:
            return "it is too long to show here; allow it on another device, or deny it with n"
        if letter == "a" and not self.grant:
            return "this request cannot be allowed for the whole session; y allows it once"
        return None


@attrs.frozen
class RequestAnswer:
    """What a person typed about the request that is shown; `letter` is y, n or a."""

    request_id: str
    letter: str
    mode: str | None = None
    note: str | None = None


@attrs.frozen
class Replied:
    """What a typed line was to a question.

    Attributes:
        answers: all answers, by question; None while some are missing.
        shown: what to show then.
    """

    request_id: str
    answers: dict[str, str] | None = None
    shown: str = ""


@attrs.define(eq=False)
class WaitingRequests:
    """The requests that wait, oldest first.

    Attributes:
        waiting: by id.
        shown: the id of the request that is asked now.
    """

    waiting: dict[str, Asked] = attrs.field(factory=dict)
    shown: str | None = None
    _given: dict[str, str] = attrs.field(factory=dict)

    def reset(self, items: Iterable[Mapping[str, Any]]) -> str:
        """Take the list of an `attached`; return the text to show."""
        self.waiting = {
            str(item["request_id"]): asked_of(item)
            for item in items
            if isinstance(item.get("request_id"), str)
        }
        self.shown = None
        return self._next()

    def add(self, request_id: str, item: Mapping[str, Any]) -> str:
        """Take a new request; return the text to show."""
        asked = self.waiting[request_id] = asked_of(item)
        if self.shown not in {None, request_id}:
            return f"— another request waits: {asked.brief} —"
        self.shown = None
        return self._next()

    def remove(self, request_id: str) -> tuple[str, str]:
        """Drop a decided request; return its subject, and the next question or nothing."""
        asked = self.waiting.pop(request_id, None)
        if self.shown == request_id:
            self.shown = None
        return "the request" if asked is None else asked.brief, self._next()

    def reply(self, line: str) -> Replied | None:
        """Take a typed line as the answer to the question that is shown; None if none is, or it is declined."""
        asked = None if self.shown is None else self.waiting[self.shown]
        if self.shown is None or asked is None or not asked.questions or line.lower() == "n":
            return None
        place = len(self._given)
        answer = asked.questions[place].answer(line)
        if answer is None:
            return Replied(self.shown, shown="— there is no such option —")
        self._given[asked.questions[place].key] = answer
        place = len(self._given)
        if place < len(asked.questions):
            return Replied(self.shown, shown=asked.question(place))
        answers, self._given = self._given, {}
        return Replied(self.shown, answers)

    def option(self, line: str) -> tuple[str, str] | None:
        """Return the id of the request that is shown and the agent's own option that a line chooses; None if none."""
        option = None if self.shown is None else self.waiting[self.shown].option(line)
        return None if self.shown is None or option is None else (self.shown, option)

    def answer_in(self, line: str) -> RequestAnswer | None:
        """Return the answer that a typed line is to the request that is shown; None if it is none."""
        if self.shown is None:
            return None
        letter, _, rest = line.partition(" ")
        letter, rest = letter.lower(), rest.strip()
        if letter not in {"y", "n", "a"} or (
            rest and not (self.waiting[self.shown].is_plan and letter != "a")
        ):
            return None
        if letter == "y":
            return RequestAnswer(self.shown, letter, mode=rest or None)
        return RequestAnswer(self.shown, letter, note=rest or None)

    def _next(self) -> str:
        if self.shown is not None or not self.waiting:
            return ""
        self.shown, self._given = next(iter(self.waiting)), {}
        return self.waiting[self.shown].text


def brief(value: Any) -> str:
    """Return the beginning of a value on one safe line."""
    if value is None:
        return ""
    return one_line(value if isinstance(value, str) else orjson.dumps(value).decode(), BRIEF)


def asked_of(item: Mapping[str, Any]) -> Asked:
    """Return a request, as its event or `attached` has it, in the form in which terminals ask it."""
    if item.get("kind") == TRUST:
        return _asked_for_trust(item)
    given = item.get("input")
    plan = given.get("plan") if item.get("kind") == "plan" and isinstance(given, dict) else None
    return _asked_for_plan(item, plan) if isinstance(plan, str) else _asked_for_tool(item)


def _asked_for_plan(item: Mapping[str, Any], plan: str) -> Asked:
    others = {name: value for name, value in item["input"].items() if name != "plan"}
    about, is_whole = shown_input(others, SHOWN) if others else ("", True)
    lines = [*_wrapped(visible(plan[:PLAN_CHARS])), *(_wrapped(about) if about else ())]
    is_whole = (
        is_whole and item.get("cut") is not True and len(plan) <= PLAN_CHARS and len(lines) <= PLAN_LINES
    )
    own = _own_options(item)
    return Asked("the plan", tuple(lines[:PLAN_LINES]), is_whole, (), PLAN_OFFER, own, is_plan=True)


def _asked_for_trust(item: Mapping[str, Any]) -> Asked:
    input_ = item.get("input")
    trust = [line.replace("\n", " ") for line in trust_lines(input_)]
    lines = [part for line in trust for part in _wrapped(visible(line))]
    folder = input_.get("folder") if isinstance(input_, dict) else None
    is_whole = lists_all(input_) and item.get("cut") is not True and len(lines) <= TRUST_LINES
    return Asked(f"trust in {one_line(str(folder))}", tuple(lines[:TRUST_LINES]), is_whole, (), TRUST_OFFER)


def _asked_in_words(item: Mapping[str, Any]) -> Asked | None:
    """Return a request that is a question to the person and shown whole; None for any other."""
    asks, tool, input_ = questions_of(item), item.get("tool"), item.get("input")
    if not asks or item.get("cut") is True:
        return None
    others = {k: v for k, v in input_.items() if k != "questions"} if isinstance(input_, dict) else input_
    text, is_whole = shown_input(others, SHOWN) if others else ("", True)
    about = _wrapped(f"{one_line(visible(str(tool)))} {text}") if others else []
    asked = Asked(f"the question {brief(asks[0].key)}", tuple(about), is_whole, (), questions=asks)
    shown = [*about, *(asked.question(place) for place in range(len(asks)))]
    fits = (
        max(len(one) for one in shown) <= SHOWN and sum(one.count("\n") + 1 for one in shown) <= SHOWN_LINES
    )
    return asked if is_whole and fits else None


def _asked_for_tool(item: Mapping[str, Any]) -> Asked:
    if (asks := _asked_in_words(item)) is not None:
        return asks
    tool, grant, questions = item.get("tool"), item.get("grant"), item.get("questions")
    name = one_line(visible(tool)) if isinstance(tool, str) else "a tool"
    input_ = item.get("input")
    text, is_whole = ("", True) if input_ is None else shown_input(input_, SHOWN)
    lines = _wrapped(f"{name} {text}".rstrip())
    if questions is not None and not (isinstance(input_, dict) and input_.get("questions") == questions):
        told, is_all = shown_input(questions, SHOWN)
        lines += _wrapped(f"it asks: {told}")
        is_whole = is_whole and is_all
    granted = _wrapped(f"  {visible(grant)}") if isinstance(grant, str) and grant else []
    own = _own_options(item)
    shown = len(lines) + len(granted) + len(own)
    is_whole = is_whole and item.get("cut") is not True and shown <= SHOWN_LINES
    about = f"{name} {brief(input_)}".rstrip()
    return Asked(about, tuple(lines[:SHOWN_LINES]), is_whole, tuple(granted), options=own)


def _own_options(item: Mapping[str, Any]) -> tuple[str, ...]:
    options = item.get("options")
    told = options if isinstance(options, list) else ()
    return own_options(tuple(one for one in told if isinstance(one, str)))


def _wrapped(text: str) -> list[str]:
    lines = sanitise(text).expandtabs(4).split("\n")
    return [line[at : at + COLUMNS] for line in lines for at in range(0, max(len(line), 1), COLUMNS)]
