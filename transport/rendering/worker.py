"""The process that renders: `python -m transport.rendering.worker`, started by `transport.rendering.renderer`.

It reads requests from stdin and writes answers to stdout until stdin ends. Both are a length and so many
bytes: of a request the blocks as JSON, of an answer the HTML; the length `NOTHING` says that there is none.

A regular expression of a colouring rule may run for ever on a text made for that, and then no Python code
runs any more. So it is the kernel that ends this process once a request has used up its time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import BinaryIO, Final

from transport.rendering.markdown import render_blocks
from transport.rendering.protocol import HEADER_BYTES, MAX_HTML_BYTES, NOTHING

__all__ = ["main"]

MEMORY_BYTES: Final = 1024 * 1024 * 1024
"""Of address space, if the system knows such a limit; the longest request takes a tenth."""

NICE: Final = 5
"""The server's loop goes first."""


def main(cpu_s: float) -> None:
    """Answer requests. One that takes more than `cpu_s` of the processor's time kills this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    os.nice(NICE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while (request := _read(requests)) is not None:
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
        html = _render(request)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        length = NOTHING if html is None else len(html)
        answers.write(length.to_bytes(HEADER_BYTES, "big") + (html or b""))
        answers.flush()


def _read(stream: BinaryIO) -> bytes | None:
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    size = int.from_bytes(header, "big")
    request = stream.read(size)
    return request if len(request) == size else None


def _render(request: bytes) -> bytes | None:
    try:
        html = render_blocks(json.loads(request)).encode()
    except (RecursionError, MemoryError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        # A library that trips over a text: the text is shown as it is.
        return None
    return html if len(html) <= MAX_HTML_BYTES else None


if __name__ == "__main__":
    main(float(sys.argv[1]))
