"""Comments of the web client's modules and styles are for those who work on it: they are not sent to browsers.

Not a build step: the files run as they are, too, and every line keeps its number. Pure.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["without_comments"]

_CAST: Final = re.compile(r"/\*\* @type \{[^*\n]*\} \*/ ?")
"""What tells the type checker of one expression, inside a line."""


def without_comments(source: str) -> str:
    """Return JavaScript or CSS without comments that begin a line, and without casts.

    Anything else stays, comments behind code too: to tell those from a text with `//` in it takes a parser. A
    template literal may have no line that begins like a comment; the client has none of several lines.
    """
    lines: list[str] = []
    inside = False
    for line in source.split("\n"):
        text = line.lstrip()
        if not inside and text.startswith("//"):
            lines.append("")
        elif inside or text.startswith("/*"):
            _, end, rest = text.partition("*/")
            inside = not end
            lines.append(rest.strip())
        else:
            lines.append(_CAST.sub("", line).rstrip())
    return "\n".join(lines)
