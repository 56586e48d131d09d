"""A stand-in for Claude Code's model service that asks for many tools in one turn.

`python -m tests.web.load.tool_model CALLS FILE` prints its address and serves until it is ended. It asks to read
the file, twenty calls in each answer, until the request holds that many results.
"""

from __future__ import annotations

import sys

import trio

from tests.standin.anthropic import open_standin
from tests.standin.replies import Answer, Reply, ToolUse
from tests.standin.requests import Seen

CALLS_AN_ANSWER = 20


async def serve(calls: int, file: str) -> None:
    """Print the address, then serve until cancelled."""

    def reply(seen: Seen) -> Reply:
        done = len(seen.tool_results)
        if done >= calls:
            return Answer.of(f"All {done} calls are done.")
        uses = [ToolUse("Read", {"file_path": file, "limit": 1 + n}) for n in range(CALLS_AN_ANSWER)]
        return Answer.of(f"Read on after {done} calls.", *uses)

    async with open_standin(fallback=reply) as standin:
        print(standin.url, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]), sys.argv[2])
