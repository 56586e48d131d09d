"""The comparison as a table in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

__all__ = ["FIGURES", "Figure", "markdown"]


@attrs.frozen
class Figure:
    """One row. `how`: the way in which it is taken."""

    key: str
    name: str
    how: str


FIGURES: Final = (
    Figure(
        "updates", "updates of 300 words", "parts in which a device gets an answer of one word every 20 ms"
    ),
    Figure("p50", "delay of a word, p50", "from the model service's write to the device, the same answer"),
    Figure("p99", "delay of a word, p99", "likewise"),
    Figure(
        "cold",
        "prompt to first text, cold",
        "from asking for a second session of this server, its agent not started",
    ),
    Figure("warm", "prompt to first text, warm", "the next turns of a session; the median of three"),
    Figure("last", "last of 20,000 words", "from the prompt, the words as fast as they go"),
    Figure(
        "bytes", "bytes at a device", "of those 20,000 words (128,890 bytes of text), without compression"
    ),
    Figure("idle", "memory, idle", "PSS of all processes of the server before the first session"),
    Figure(
        "session", "memory of a session", "PSS of all processes that one more session adds after its turn"
    ),
    Figure(
        "cut", "words lost by a cut", "the stream ends after 100 of 300 words, and comes back after 0.5 s"
    ),
    Figure("cut_read", "the same, if the device reads the history", "at the end of the turn"),
    Figure(
        "kill", "words lost by `kill -9`", "of the server after 100 of 300 words, restarted; then its history"
    ),
    Figure("decisions", "opposite decisions at once", "two devices allow and deny the same request together"),
    Figure(
        "thrice",
        "the same message three times",
        "with one id, as a device repeats it: turns that the model sees",
    ),
)


def markdown(columns: Sequence[str], results: Mapping[str, Mapping[str, str]]) -> str:
    """Return the table; a figure that a server did not give is a dash with its reason, never left out."""
    rows = [["figure", *columns], ["---"] * (len(columns) + 1)]
    rows += [
        [figure.name, *(results.get(column, {}).get(figure.key, "not measured") for column in columns)]
        for figure in FIGURES
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"- {figure.name}: {figure.how}." for figure in FIGURES)])
