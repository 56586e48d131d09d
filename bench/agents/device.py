"""One device of our server that keeps a session warm and times its turns.

`python -m bench.agents.device PORT AGENT` reads its key from the variable `BENCH_KEY`.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import attrs
import trio
from trio_websocket import WebSocketConnection

from bench.agents.turns import Ask, Timed, run_process, serve_turns
from bench.devices import attach, join_session, now_us, open_device, read_run, say, send
from bench.frames import evaluate

__all__ = ["KEY", "main"]

KEY = "BENCH_KEY"
"""The variable with the key: arguments can be seen by everybody."""


@attrs.define(eq=False)
class _Device:
    connection: WebSocketConnection
    agent: str
    session_id: str
    number: int = 0

    async def turn(self, ask: Ask) -> Timed:
        if ask.fresh:
            self.number += 1
            self.session_id = f"bench-{self.agent}-{self.number}"
            await attach(self.connection, self.session_id, "bench", self.agent)
        if ask.warm_s is not None:
            await say(self.connection, {"type": "warm", "session_id": self.session_id})
            await trio.sleep(ask.warm_s)
        go_us = now_us()
        await send(self.connection, self.session_id, ask.prompt)
        frames = await read_run(self.connection)
        seen = evaluate(frames, "words", ask.words)
        return Timed(seen.first_us - go_us, seen.last_us - go_us, frames[-1].at_us - go_us)


async def _serve(port: int, agent: str) -> None:
    session_id = f"bench-{agent}"
    async with open_device(f"ws://127.0.0.1:{port}/api/ws") as connection:
        await join_session(connection, os.environ[KEY], session_id, "bench", agent)
        await serve_turns(_Device(connection, agent, session_id))


def main(arguments: list[str]) -> int:
    """Serve turns until stdin ends, and return the exit status."""
    return run_process(partial(_serve, int(arguments[0]), arguments[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
