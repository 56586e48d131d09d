"""Turns what an agent asks during a turn into a question for a person, and the answer into the agent's form. No I/O.

The first of the agent's options of each kind stands for allow, allow for the session or deny. The other options appear
with their labels. An answer without an option becomes `cancelled`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from bridgehub.agents.acp.offer import BYPASS, mode_kind
from bridgehub.agents.acp.start import CANCELLED
from bridgehub.agents.acp.tools import ToolCall
from bridgehub.agents.diffs import relative
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.request_words import MAX_TITLE_CHARS, Kind, RequestWords
from bridgehub.agents.text import clean_text, cut_json
from bridgehub.protocol.messages import Decided

__all__ = ["AcpQuestion", "Options", "outcome_of", "question_of"]

MAX_OPTIONS = 13
"""Options by label. With the three decisions, these are as many as a request can have."""

MAX_LABEL_CHARS = 200
MAX_GRANT_CHARS = 2000

_KINDS: dict[str, Kind] = {
    "execute": "command",
    "edit": "edit",
    "delete": "edit",
    "move": "edit",
    "read": "read",
    "search": "read",
    "fetch": "fetch",
    "switch_mode": "plan",
}

_VERBS = {"edit": "Edit", "delete": "Delete", "move": "Move", "read": "Read", "search": "Search"}

_DECISIONS = (
    ("allow", ("allow_once",)),
    ("allow_session", ("allow_always",)),
    ("deny", ("reject_once", "reject_always")),
)


@attrs.frozen
class Options:
    """The options of one request: ids by decision and by label. `denying`: the labels that deny."""

    by_decision: dict[str, str]
    by_label: dict[str, str]
    denying: tuple[str, ...]
    lasting_label: str

    @classmethod
    def read(cls, params: Fields, *, may_bypass: bool, can_grant: bool) -> Options:
        """Read the options of a request.

        Args:
            may_bypass: whether an option may lead to a mode that never asks.
            can_grant: whether there are words for what `allow_session` allows. If not, that option appears with its label.
        """
        left = [one for one in params.objects("options") if one.text("optionId")]
        left = [one for one in left if may_bypass or not _bypasses(one)]
        by_decision: dict[str, str] = {}
        lasting = ""
        for decision, kinds in _DECISIONS:
            if decision == "allow_session" and not can_grant:
                continue
            found = next((one for kind in kinds for one in left if one.text("kind") == kind), None)
            if found is not None:
                by_decision[decision] = found.text("optionId")
                lasting = _label(found) if decision == "allow_session" else lasting
                left.remove(found)
        by_label: dict[str, str] = {}
        denying = []
        for one in left[:MAX_OPTIONS]:
            label = _label(one)
            if label in by_label or label in ("allow", "allow_session", "deny"):
                label = f"{label} ({one.text('optionId')})"[:MAX_LABEL_CHARS]
            by_label[label] = one.text("optionId")
            if one.text("kind").startswith("reject"):
                denying.append(label)
        return cls(by_decision, by_label, tuple(denying), lasting)

    def offered(self) -> tuple[str, ...]:
        """Return what a person may answer. A no is always possible."""
        decisions = [
            one for one in ("allow", "deny", "allow_session") if one in self.by_decision or one == "deny"
        ]
        return (*decisions, *self.by_label)


@attrs.frozen
class AcpQuestion:
    """What a person is asked (`Sink.ask`)."""

    tool: str
    tool_input: Any
    options: Options
    words: RequestWords
    grant: str | None


def question_of(
    params: Fields, tool: ToolCall, diff: Any, *, workspace: str, may_bypass: bool
) -> AcpQuestion:
    """Return the question of a `session/request_permission` about a tool call, of which almost nothing may be known."""
    about = grant_words(tool)
    kind = _KINDS.get(tool.kind, "other")
    options = Options.read(params, may_bypass=may_bypass or kind != "plan", can_grant=about is not None)
    grant = None
    if "allow_session" in options.by_decision and about is not None:
        grant = f"{options.lasting_label}: {about}"
        grant = grant if len(grant) <= MAX_GRANT_CHARS else None
    shown = tool.shown_input()
    if kind == "plan" and isinstance(tool.raw_input, dict) and isinstance(tool.raw_input.get("plan"), str):
        shown = {**shown, "plan": tool.raw_input["plan"]}
    title = _title(tool, kind, workspace)
    words = RequestWords(kind, title, diff=diff, options=options.offered(), denying=options.denying)
    return AcpQuestion(tool.name, cut_json(shown).value, options, words, grant)


def outcome_of(decided: Decided, options: Options) -> Mapping[str, Any]:
    """Return the result that answers the request."""
    if decided.option is not None:
        chosen = options.by_label.get(decided.option)
    else:
        chosen = options.by_decision.get(decided.decision)
    return CANCELLED if chosen is None else {"outcome": {"outcome": "selected", "optionId": chosen}}


def grant_words(tool: ToolCall) -> str | None:
    """Return words for what a call does, the same for this call and others like it. None if there are none."""
    if tool.command:
        return clean_text(tool.command)
    parts = [tool.title, *(path for path in tool.paths if path not in tool.title)]
    return " ".join(part for part in parts if part) or None


def _title(tool: ToolCall, kind: Kind, workspace: str) -> str:
    title = f"Run {tool.command}" if tool.command else tool.title
    if os.path.isabs(title):  # some agents give only the path as a title
        title = f"{_VERBS.get(tool.kind, 'Use')} {relative(title, workspace)}"
    title = " ".join(title[: 4 * MAX_TITLE_CHARS].split())
    if not title:
        title = "Carry out the plan" if kind == "plan" else "Use a tool that the agent does not name"
    return title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…"


def _label(option: Fields) -> str:
    return clean_text(" ".join((option.text("name") or option.text("optionId")).split())[:MAX_LABEL_CHARS])


def _bypasses(option: Fields) -> bool:
    is_yes = option.text("kind").startswith("allow")
    return is_yes and mode_kind(option.text("optionId"), option.text("name")) == BYPASS
