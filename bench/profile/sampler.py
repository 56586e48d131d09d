"""Looks at all threads of the process that it runs in, a thousand times a second, and counts where they are."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["sample"]

_PERIOD_S = 0.001
_TOP = 40

_WAITING = frozenset(
    {"wait", "acquire", "_next_batch", "get_events", "_handle_job", "_work", "get", "_exchange"}
)
"""Innermost functions of a thread that does nothing: they are left out."""


@contextmanager
def sample(path: str) -> Iterator[None]:
    """Count while in the block; then write the counts to `path`."""
    inner: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(done, inner, whole), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        Path(path).write_text(_told("in the function itself", inner) + _told("in it and below", whole))


def _watch(done: threading.Event, inner: Counter[str], whole: Counter[str]) -> None:
    names = {}
    own = threading.get_ident()
    while not done.wait(_PERIOD_S):
        for ident, frame in sys._current_frames().items():
            if ident == own or frame.f_code.co_name in _WAITING:
                continue
            if ident not in names:
                names[ident] = next((t.name for t in threading.enumerate() if t.ident == ident), "?")
            inner[_place(names[ident], frame)] += 1
            whole.update({_place(names[ident], one) for one in _stack(frame)})


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(thread: str, frame: FrameType) -> str:
    code = frame.f_code
    return f"{thread}: {'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {code.co_qualname}"


def _told(title: str, counts: Counter[str]) -> str:
    lines = [f"{number:7d}  {place}" for place, number in counts.most_common(_TOP)]
    return "\n".join([f"samples {title}", *lines, "", ""])
