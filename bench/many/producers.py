"""The yardstick's producers, a process each as an agent's would be, forked from one.

`python -m bench.many.producers SOCKET SESSIONS SECONDS` waits for a line, then starts them all. Each sends its pieces
to the devices at the path with its number. Nothing but the standard library.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from bench.many.pace import Pace, paces
from bench.producer import END, piece

__all__ = ["main"]

_LEAD_S = 0.3
"""Until the first piece: all are there by then."""


def main(arguments: list[str]) -> int:
    """Run all producers and return the exit status."""
    path, sessions, seconds = arguments[0], int(arguments[1]), float(arguments[2])
    sys.stdin.readline()
    start = time.monotonic() + _LEAD_S
    pids = []
    for number, pace in enumerate(paces(sessions, seconds)):
        pid = os.fork()
        if pid == 0:
            _produce(path, number, pace, start)
            os._exit(0)
        pids.append(pid)
    ends = [os.waitpid(pid, 0)[1] for pid in pids]
    return int(any(ends))


def _produce(path: str, number: int, pace: Pace, start: float) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        stream.sendall(b'{"type":"session","content":"/%d"}\n' % number)
        start += pace.offset_ms / 1000
        for turn in range(pace.count):
            time.sleep(max(0.0, start + turn * pace.period_ms / 1000 - time.monotonic()))
            stream.sendall(piece(str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)))
        stream.sendall(END)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
