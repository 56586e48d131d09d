"""Work that a widget does beside drawing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from textual.dom import DOMNode

__all__ = ["begin"]


def begin(
    of: DOMNode, work: Callable[[], Coroutine[Any, Any, object]], group: str, *, instead: bool = False
) -> None:
    """Begin some work. Its errors are its own business.

    Args:
        of: it ends with this widget.
        work: makes the coroutine, and is not one: a coroutine that is given up before it has begun would have Python
            print a warning into the terminal when the program ends.
        group: what it is.
        instead: give up what else of this group is running.
    """
    # Without a description Textual takes the work's `repr`, which is that of its object with all that it has.
    of.run_worker(cast("Any", work), group=group, description=group, exclusive=instead, exit_on_error=False)
