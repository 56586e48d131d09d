"""The hook that a plain terminal's Claude Code calls with each question: it asks the server, and waits.

Run as a script: `python -I hook.py DATA`. It needs the standard library only, so that it starts within some 20 ms. If
there is no server it ends at once and says nothing: the terminal's own dialog is all there is. It never fails.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys

MAX_BYTES = 1024 * 1024
"""Of the question, and of the answer."""

CONNECT_S = 1.0


def main() -> None:
    """Pass the question on and print the answer."""
    if os.environ.get("BUILDEROS_HUB") or len(sys.argv) != 2:
        return  # a session of ours asks for itself
    question = sys.stdin.buffer.read(MAX_BYTES + 1)
    path = _socket_path(sys.argv[1])
    if not path or not question or len(question) > MAX_BYTES:
        return
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(CONNECT_S)
        link.connect(path)
        link.settimeout(None)
        link.sendall(question.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
        answer = b""
        while len(answer) <= MAX_BYTES and (data := link.recv(65536)):
            answer += data
    if answer.endswith(b"\n") and len(answer) <= MAX_BYTES:
        sys.stdout.buffer.write(answer)


def _socket_path(data: str) -> str:
    """Return the server's socket; empty if it is not this user's alone."""
    with open(os.path.join(data, "desk-socket"), encoding="utf-8") as note:
        path = note.read(4096).strip()
    told = os.lstat(path)
    is_ours = stat.S_ISSOCK(told.st_mode) and told.st_uid == os.getuid() and not told.st_mode & 0o077
    return path if is_ours else ""


if __name__ == "__main__":
    with contextlib.suppress(OSError, ValueError, KeyboardInterrupt):
        main()
