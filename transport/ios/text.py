"""Text between the iOS app and a person: removes summaries from answers, and reads decisions. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal

import attrs

from actors.events.permissions import PermissionRequested
from transport.request_text import TRUST, lists_all, shown_input, trust_lines, visible

__all__ = [
    "BEGUN_AGAIN",
    "SummaryFilter",
    "already_decided",
    "bare_error",
    "decision_of",
    "may_be_allowed",
    "request_text",
]

BEGUN_AGAIN: Final = "\n\n[The answer broke off here and begins again:]\n\n"
"""What the app gets between the two: it cannot take back what it has shown."""

_OPEN: Final = "<tts-summary>"
_CLOSE: Final = "</tts-summary>"

MAX_SUMMARY: Final = 16 * 1024
"""Code points after which an unfinished summary counts as text; bounds what is held."""

MAX_INPUT: Final = 8000
"""Code points of a tool's input that a request shows; a longer request cannot be allowed here."""

_WORDS: Final[dict[str, Literal["allow", "deny"]]] = {
    "allow": "allow",
    "yes": "allow",
    "deny": "deny",
    "no": "deny",
}


@attrs.define(eq=False)
class SummaryFilter:
    """Removes `<tts-summary>…</tts-summary>` from a text that arrives in pieces.

    Text that may still become part of a summary is held back; a summary that never ends is text.
    """

    _held: str = ""

    def feed(self, piece: str) -> str:
        """Return what is certainly text once `piece` has arrived."""
        text = self._held + piece
        out: list[str] = []
        while text:
            start = text.find(_OPEN)
            if start < 0:
                keep = _begun(text)
                out.append(text[: len(text) - keep])
                text = text[len(text) - keep :]
                break
            end = text.find(_CLOSE, start + len(_OPEN))
            out.append(text[:start])
            if end < 0:
                text = text[start:]
                if len(text) > MAX_SUMMARY:
                    out.append(text)
                    text = ""
                break
            text = text[end + len(_CLOSE) :]
        self._held = text
        return "".join(out)

    def flush(self) -> str:
        """Return the held text: the text has ended."""
        held, self._held = self._held, ""
        return held


def _begun(text: str) -> int:
    """Return how many characters at the end may be the beginning of a summary."""
    for size in range(min(len(_OPEN) - 1, len(text)), 0, -1):
        if _OPEN.startswith(text[-size:]):
            return size
    return 0


def decision_of(text: str) -> Literal["allow", "deny"] | None:
    """Return the decision that a message means; None for any other text."""
    return _WORDS.get(text.strip().lower())


def request_text(request: PermissionRequested) -> str:
    """Return a request and its possible answers, for a person who has only a text box."""
    text, is_whole = _shown(request)
    if request.about == TRUST:
        lines = [text, ""]
        no = "go on without its settings" if "deny" in request.options else "end this message"
        if is_whole:
            lines.append(f"Send allow (or yes) to trust this folder, deny (or no) to {no}.")
        else:
            lines.append(
                f"It is too long to show here. Another device can trust it. Send deny (or no) to {no}."
            )
        return "\n".join(lines)
    lines = [f"Permission needed for the tool {visible(request.tool)}, with this input:", "", text, ""]
    if request.questions is not None:
        lines += ["It asks something that only another device can answer with choices.", ""]
    if not is_whole:
        lines.append("It is too long to show here. Another device can allow it. Send deny (or no) to refuse.")
        return "\n".join(lines)
    if request.grant:
        lines += [
            "allow is for this call only. Another device may also allow, for this session:",
            visible(request.grant),
            "",
        ]
    lines.append("Send allow (or yes) to let it, deny (or no) to refuse.")
    return "\n".join(lines)


def may_be_allowed(request: PermissionRequested) -> bool:
    """Return whether `request_text` shows everything that would run."""
    return _shown(request)[1]


def _shown(request: PermissionRequested) -> tuple[str, bool]:
    """Return the visible text of a request, and whether it is complete."""
    if request.about != TRUST:
        return shown_input(request.input, MAX_INPUT)
    text = visible("\n".join(trust_lines(request.input)))
    return text[:MAX_INPUT], len(text) <= MAX_INPUT and lists_all(request.input)


def already_decided(name: str) -> str:
    """Return the text for a decision that came too late."""
    return f"already decided by {name}"


def bare_error(content: str) -> str:
    """Return an error's text without the `Error:` that the app adds itself."""
    return re.sub(r"\A(?:\s*Error:)+\s*", "", content) or "Something went wrong."
