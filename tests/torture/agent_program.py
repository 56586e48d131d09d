"""A relay for the crash suite: keeps its own record of what it was asked, and has commands that may outlive it.

In the folder `TORTURE_FOLDER`: `prompts`, a line for each message that it had, and `processes`, a line for itself
and for each command that it started. Stdlib only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys


def note(name: str, *words: object) -> None:
    path = os.path.join(os.environ["TORTURE_FOLDER"], name)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, ("\t".join(map(str, words)) + "\n").encode())
    os.close(handle)


def start_tool(session: str) -> None:
    """Leave a command running in a session of its own, as agents' tools do."""
    tool = subprocess.Popen(["sleep", "600"], start_new_session=True)
    note("processes", session, "tool", tool.pid)


def main() -> int:
    request = json.loads(sys.argv[2])
    session, message = request["session"], request["payload"]["message"]
    note("prompts", session, message)
    note("processes", session, "agent", os.getpid())
    verb = message.partition(" ")[0]
    if verb in ("hold", "leave"):
        start_tool(session)
    if verb == "hold":
        signal.pause()
    body = {"ok": True, "action": "freeform", "summary": "", "data": {"output": f"had {message}"}, "logs": []}
    print("JARVIS_PAYLOAD=" + json.dumps(body), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
