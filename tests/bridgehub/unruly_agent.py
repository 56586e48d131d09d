"""An agent for tests of processes: it starts some, prints their ids, and does not stop when asked.

`spawn` starts a child that starts a grandchild in a session of its own, which ignores SIGTERM and survives
the child. `environment` prints the environment that its processes have.
"""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
import orjson
import trio

from bridgehub.agents.base import Sink
from bridgehub.protocol.events import Consumed, TextPiece, TurnDone
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Prompt

__all__ = ["CHILD", "make_driver"]

CHILD = """
import os, signal, sys, time
stay = sys.argv[1] == "stay"
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.write(write, b"%d" % os.getpid())
    os.close(1)
    time.sleep(600)
os.close(write)
print(os.getpid(), os.read(read, 20).decode(), flush=True)
if stay:
    time.sleep(600)
"""


@attrs.define(eq=False)
class _Unruly:
    can_steer: bool = False

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnDone:
        turn_id = prompt.turn_id
        await sink.emit(Consumed(turn_id))
        if prompt.content != "environment":
            for manner in ("stay", "leave"):
                await sink.emit(TextPiece(turn_id, "text", "b", _spawn(manner)))
            await trio.sleep_forever()
        else:
            command = [sys.executable, "-I", "-c", "import os, json; print(json.dumps(dict(os.environ)))"]
            result = await trio.run_process(command, capture_stdout=True)
            await sink.emit(TextPiece(turn_id, "text", "b", result.stdout.decode()))
            own = orjson.dumps({"cwd": os.getcwd(), "fds": sorted(_descriptors())}).decode()
            await sink.emit(TextPiece(turn_id, "text", "c", own))
        return TurnDone(turn_id)

    async def interrupt(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.sleep_forever()


def _spawn(manner: str) -> str:
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", CHILD, manner], stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    return child.stdout.readline().decode()


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that listed them
            continue
    return found


def make_driver(spec: HubSpec) -> _Unruly:
    return _Unruly()
