"""One device of our server that keeps a session warm and times its turns.

`python -m bench.warm_device PORT AGENT` reads its key from the variable `BENCH_KEY`.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import attrs
from trio_websocket import WebSocketConnection

from bench.devices import join_session, now_us, open_device, read_run, send
from bench.frames import evaluate
from bench.warm import Ask, Timed, run_process, serve_turns

__all__ = ["KEY", "main"]

KEY = "BENCH_KEY"
"""The variable with the key: arguments can be seen by everybody."""


@attrs.define(eq=False)
class _Device:
    connection: WebSocketConnection
    session_id: str

    async def turn(self, ask: Ask) -> Timed:
        go_us = now_us()
        await send(self.connection, self.session_id, ask.prompt)
        frames = await read_run(self.connection)
        seen = evaluate(frames, "words", ask.words)
        return Timed(seen.first_us - go_us, seen.last_us - go_us, frames[-1].at_us - go_us)


async def _serve(port: int, agent: str) -> None:
    session_id = f"bench-{agent}"
    async with open_device(f"ws://127.0.0.1:{port}/api/ws") as connection:
        await join_session(connection, os.environ[KEY], session_id, "bench", agent)
        await serve_turns(_Device(connection, session_id))


def main(arguments: list[str]) -> int:
    """Serve turns until stdin ends, and return the exit status."""
    return run_process(partial(_serve, int(arguments[0]), arguments[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
