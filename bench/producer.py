"""The yardstick's producer, a process of its own as an agent's would be: lines of JSON into a Unix socket.

`python -m bench.producer SOCKET clock N MS` sends a line every MS milliseconds with the CLOCK_MONOTONIC
microsecond at which it left; `words N` sends N lines as fast as it can. Nothing but the standard library.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator

__all__ = ["END", "main", "piece"]

END = b'{"type":"complete","content":""}\n'
"""The last line of a run."""

_LINES_A_WRITE = 64
"""Lines that leave at once when there is no pause between them: as many as would pile up behind one write."""


def piece(word: str) -> bytes:
    """Return the line of one piece."""
    return b'{"type":"message","content":"%s "}\n' % word.encode()


def main(arguments: list[str]) -> int:
    """Send one run and return the exit status."""
    path, kind, count = arguments[0], arguments[1], int(arguments[2])
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        if kind == "clock":
            _send_clock(stream, count, float(arguments[3]) / 1000)
        else:
            for block in _blocks(count):
                stream.sendall(block)
        stream.sendall(END)
    return 0


def _send_clock(stream: socket.socket, count: int, pause_s: float) -> None:
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number * pause_s - time.monotonic()))
        stream.sendall(piece(str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)))


def _blocks(count: int) -> Iterator[bytes]:
    for first in range(0, count, _LINES_A_WRITE):
        yield b"".join(piece(f"w{number}") for number in range(first, min(first + _LINES_A_WRITE, count)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
