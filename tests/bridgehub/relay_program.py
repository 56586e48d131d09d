"""A relay for tests: `--request JSON`; the first word of the message says what it does. Stdlib only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def say(body: object) -> None:
    print("JARVIS_PAYLOAD=" + json.dumps(body), flush=True)


def answer(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    payload = request["payload"]
    return {
        "ok": True,
        "action": "freeform",
        "summary": "a summary",
        "data": {**payload, "prompt": json.dumps(payload), **more},
        "logs": [],
    }


def spawn() -> None:
    """Leave processes that get away from a group kill, and tell their ids."""
    for own in (False, True):
        child = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=own)
        print("child", child.pid, file=sys.stderr, flush=True)
        with open("pids", "a", encoding="utf-8") as file:
            print(child.pid, file=file)


def main() -> int:
    assert sys.argv[1] == "--request"
    request = json.loads(sys.argv[2])
    verb, _, rest = request["payload"]["message"].partition(" ")
    print("starting", verb)
    match verb:
        case "request":
            say(answer(request, output=sys.argv[2]))
        case "environment":
            say(answer(request, output=json.dumps(dict(os.environ))))
        case "payload":
            print("JARVIS_PAYLOAD=" + rest, flush=True)
        case "big":
            say(answer(request, output="y" * int(rest)))
        case "flood":
            line = "z" * (1 << 20)
            for _ in range(int(rest)):
                sys.stdout.write(line)
                sys.stderr.write(line)
            sys.stdout.write("\n")
            say(answer(request, output="after the flood"))
        case "exit":
            print(f"stderr says: {os.environ.get('RELAY_TOKEN')}", file=sys.stderr)
            say(answer(request, output="not to be believed"))
            return int(rest)
        case "signal":
            os.kill(os.getpid(), int(rest))
        case "silent":
            print("no answer today", file=sys.stderr)
        case "hang":
            spawn()
            time.sleep(600)
        case "leave":
            spawn()
            say(answer(request, output="left some"))
        case _:
            say(answer(request, output=f"relay: {request['payload']['message']}"))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(main())
