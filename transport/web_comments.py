"""Comments and indentation of the web client's modules and styles are for those who work on it: browsers do not get them.

Not a build step: the files run as they are, too, and every line keeps its number. Pure.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["without_comments"]

_CAST: Final = re.compile(r"/\*\* @type \{[^*\n]*\} \*/ ?")
"""What tells the type checker of one expression, inside a line."""


def without_comments(source: str) -> str:
    """Return JavaScript or CSS without comments that begin a line, without casts, and without indentation.

    Anything else stays, comments behind code too: to tell those from a text with `//` in it takes a parser. A
    template literal may have no line that begins like a comment or with a space; the client has none of several
    lines.
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
            lines.append(_CAST.sub("", text).strip())
    return "\n".join(lines)
