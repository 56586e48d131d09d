"""Notes: what a node lets the others know. Nobody answers, and nothing is wrong if one is lost.

Who hears a note looks at its fields like at anything from outside: a note that cannot be read is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import attrs

from actors.nodes.mail import NoteMail, encode_mail
from actors.nodes.ports import Post

__all__ = ["Hears", "NodeNotes"]

WITHIN_S: Final = 10.0
"""A note that cannot be posted for so long is dropped."""

Hears = Callable[[str, dict[str, Any]], None]
"""Gets the node that a note is of, and its fields. Must not block; raises KeyError, TypeError or ValueError if it cannot
be read."""

_log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class NodeNotes:
    """The notes of this node, and those of others."""

    post: Post
    _hearing: dict[str, Hears] = attrs.field(factory=dict, init=False)

    def hear(self, what: str, hears: Hears) -> None:
        """Have notes of this kind heard from now on."""
        self._hearing[what] = hears

    def let_know(self, what: str, fields: dict[str, Any], *, first_only: bool = False) -> None:
        """Send a note to all other nodes that are well, or only to the first node if that is another one. Never blocks."""
        body = encode_mail(NoteMail(self.post.node, what, fields))
        for state in self.post.nodes.values():
            if state.is_alive and state.id != self.post.node and (state.is_first or not first_only):
                self.post.post(state.id, body, within_s=WITHIN_S)

    def take(self, mail: NoteMail) -> None:
        """Take a note of another node. Never blocks or raises."""
        hears = self._hearing.get(mail.what)
        if hears is None:
            return  # of a newer version, or this node has just started
        try:
            hears(mail.node, mail.fields)
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("node %s: a note (%s) is left out: %s", mail.node, mail.what, type(error).__name__)
