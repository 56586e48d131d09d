"""The stand-in for the model service of all servers: `python -m bench.peers.standin LOG` prints its URL.

`pace N MS` streams N words with a pause before each. It writes a line of JSON to LOG for each request, and one with the
times at which the words of a paced answer were sent.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from bench.devices import now_us
from tests.standin.anthropic import default_reply, open_standin
from tests.standin.replies import Answer, Reply, Text, ToolUse
from tests.standin.requests import Seen

__all__ = ["main"]


@attrs.define(eq=False)
class _Paced:
    log: Path
    nursery: trio.Nursery

    def reply(self, seen: Seen) -> Reply:
        last = seen.user_texts[-1].strip().strip('"') if seen.user_texts else ""
        verb, _, rest = last.partition(" ")
        self._write({"asked": "tool" if seen.answers_tool else last, "copies": seen.user_texts.count(last)})
        if seen.answers_tool:
            return Answer.of("the tool has answered")
        if verb == "pace":
            count, pause_ms = rest.split()
            gates = [trio.Event() for _ in range(int(count))]
            self.nursery.start_soon(self._open, gates, float(pause_ms) / 1000)
            pieces = [piece for number, gate in enumerate(gates) for piece in (gate, f"w{number} ")]
            return Answer((Text(tuple(pieces)),))
        if verb == "bash" and "bash" in seen.tools:
            return Answer.of(ToolUse("bash", {"command": rest, "description": "Asked by the person"}))
        return default_reply(
            attrs.evolve(seen, body={**seen.body, "messages": [{"role": "user", "content": last}]})
        )

    async def _open(self, gates: list[trio.Event], pause_s: float) -> None:
        stamps = []
        for gate in gates:
            await trio.sleep(pause_s)
            stamps.append(now_us())
            gate.set()
        self._write({"stamps": stamps})

    def _write(self, line: dict[str, Any]) -> None:
        with self.log.open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")


async def _serve(log: Path) -> None:
    async with trio.open_nursery() as nursery, open_standin(fallback=_Paced(log, nursery).reply) as standin:
        sys.stdout.write(standin.url + "\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel(reason="its orchestrator has ended")


def main(arguments: list[str]) -> int:
    """Serve until stdin ends."""
    trio.run(partial(_serve, Path(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
