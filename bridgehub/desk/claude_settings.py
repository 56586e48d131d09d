"""What a person sets in a terminal of Claude Code, as its transcript shows it. Pure.

The program confirms `/model` and `/effort` by a row, and not always: on a busy machine, or while an answer is written, it
changes the setting and writes nothing down. So answers count too: one that was asked of another model than the answer
before it, in terminals alone, shows that somebody chose it. Seen with Claude Code 2.1.330.
"""

from __future__ import annotations

from typing import Any

import attrs

from bridgehub.desk.records import Answered

__all__ = ["MODE_ROW", "Chosen", "mode_of", "model_of"]

_CONFIRMED = {
    "<local-command-stdout>Set model to": "model",
    "<local-command-stdout>Set effort level to": "effort",
}
"""How the program confirms that somebody changed a setting. Its words are for a person; the next answer has the value."""

_MORE_THOUGHT = "ultrathink_effort"
"""The attachment by which a word of the person's raises the effort for one turn alone."""

MAX_SETTING = 200

MODE_ROW = "permission-mode"
"""The type of the row that says in which mode a terminal is. Our own programs write none."""


@attrs.define
class Chosen:
    """What somebody chose in a terminal, for the answers that follow.

    The program writes its mode down with each message, and as a turn or the program ends.

    Attributes:
        waiting: settings that were changed and whose values no row has shown yet.
        last: what the newest answer in a terminal was asked with.
        settings: what somebody chose since.
    """

    waiting: set[str]
    last: Answered
    settings: dict[str, str] = attrs.field(factory=dict)

    def take(self, row: dict[str, Any], *, is_ours: bool) -> None:
        """Look at the next row; `is_ours`: a program of ours wrote it, which was given its settings."""
        if is_ours:
            self.last = Answered()
            return
        if mode := mode_of(row):
            self._take_mode(mode)
        message, attached = row.get("message"), row.get("attachment")
        if isinstance(attached, dict) and attached.get("type") == _MORE_THOUGHT:
            self.last = attrs.evolve(self.last, thinks_more=True)
        elif (
            isinstance(message, dict)
            and row.get("type") == "user"
            and isinstance(message.get("content"), str)
        ):
            self.waiting |= {
                name for words, name in _CONFIRMED.items() if message["content"].startswith(words)
            }
            if row.get("isMeta") is not True and not message["content"].startswith(
                "<"
            ):  # a person's own words
                self.last = attrs.evolve(self.last, thinks_more=False)
        elif model := model_of(row):
            self._take_answer(model, _word(row.get("effort")))

    def _take_mode(self, mode: str) -> None:
        self.settings["permission_mode"] = mode
        if mode != self.last.mode and "plan" in (mode, self.last.mode):
            self.last = attrs.evolve(self.last, model="")  # some models are for planning alone (`opusplan`)
        self.last = attrs.evolve(self.last, mode=mode)

    def _take_answer(self, model: str, effort: str) -> None:
        last, told = self.last, {"model": model, "effort": effort}
        changed = set(self.waiting)
        if last.model and model != last.model:
            changed.add("model")
        if last.effort and effort != last.effort and not last.thinks_more:
            changed.add("effort")
        taken = changed - {"effort"} if last.thinks_more else changed
        self.settings |= {name: told[name] for name in taken if told[name]}
        self.waiting = changed & {"effort"} if last.thinks_more else set()
        self.last = attrs.evolve(last, model=model, effort=last.effort if last.thinks_more else effort)


def mode_of(row: dict[str, Any]) -> str:
    """Return the permission mode that a row has; empty if none."""
    return _word(row.get("permissionMode"))


def model_of(row: dict[str, Any]) -> str:
    """Return the model that an answer was asked of; empty if the row is none, or the program wrote it by itself."""
    message = row.get("message")
    told = message.get("model") if isinstance(message, dict) and row.get("type") == "assistant" else None
    return "" if told == "<synthetic>" else _word(row.get("requestedModel") or told)


def _word(value: object) -> str:
    return value[:MAX_SETTING].encode(errors="replace").decode() if isinstance(value, str) else ""
