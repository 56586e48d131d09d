"""The yardstick for Codex: `codex app-server` with the least that it needs around it, kept warm.

`python -m bench.agents.bare_codex PROGRAM WORKSPACE` inherits the program's environment. It reads lines, parses them, and
looks for pieces and the turn's end.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from functools import partial
from typing import Any

import attrs
import orjson
import trio

from bench.agents.turns import Ask, Timed, run_process, serve_turns
from bench.devices import now_us
from bench.errors import BenchError

__all__ = ["main"]

_READ_BYTES = 256 * 1024


@attrs.define(eq=False)
class _Codex:
    process: trio.Process
    workspace: str
    thread_id: str = ""
    _ids: int = 0
    _rest: bytes = b""
    _lines: deque[bytes] = attrs.field(factory=deque)

    async def open(self) -> None:
        """Greet the program and open a thread."""
        await self._call("initialize", {"clientInfo": {"name": "bench", "version": "1"}})
        await self._write({"method": "initialized"})
        thread = {"cwd": self.workspace, "approvalPolicy": "on-request", "sandbox": "workspace-write"}
        self.thread_id = (await self._call("thread/start", thread))["thread"]["id"]

    async def turn(self, ask: Ask, go_us: int) -> Timed:
        stamps: list[int] = []
        texts: list[str] = []
        what = {"threadId": self.thread_id, "input": [{"type": "text", "text": ask.prompt}]}
        await self._write({"id": self._next_id(), "method": "turn/start", "params": what})
        while True:
            told = await self._next()
            match told.get("method"):
                case "item/agentMessage/delta":
                    stamps.append(now_us())
                    texts.append(told["params"]["delta"])
                case "turn/completed":
                    break
        end_us = now_us()
        words = len("".join(texts).split())
        if words != ask.words:
            raise BenchError(f"the app-server gave {words} words of {ask.words}: {told['params']}"[:500])
        return Timed(stamps[0] - go_us, stamps[-1] - go_us, end_us - go_us)

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = self._next_id()
        await self._write({"id": number, "method": method, "params": params})
        while True:
            told = await self._next()
            if told.get("id") == number:
                if "error" in told:
                    raise BenchError(f"the app-server refused {method}: {told['error']}")
                result: dict[str, Any] = told["result"]
                return result

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids

    async def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(orjson.dumps(message) + b"\n")

    async def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while not self._lines:
            data = await self.process.stdout.receive_some(_READ_BYTES)
            if not data:
                raise BenchError("the app-server ended")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines.extend(lines)
        told: dict[str, Any] = orjson.loads(self._lines.popleft())
        return told


@attrs.define(eq=False)
class _Turns:
    """Turns of a program that is kept, and of new ones."""

    program: str
    workspace: str
    nursery: trio.Nursery
    kept: _Codex | None = None

    async def open(self) -> _Codex:
        run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.workspace)
        codex = _Codex(await self.nursery.start(run, [self.program, "app-server"]), self.workspace)
        await codex.open()
        return codex

    async def turn(self, ask: Ask) -> Timed:
        go_us = now_us()
        if not ask.fresh:
            assert self.kept is not None
            return await self.kept.turn(ask, go_us)
        codex = await self.open()
        if ask.warm_s is not None:
            await trio.sleep(ask.warm_s)
            go_us = now_us()
        timed = await codex.turn(ask, go_us)
        assert codex.process.stdin is not None
        await codex.process.stdin.aclose()  # which ends it
        return timed


async def _serve(program: str, workspace: str) -> None:
    async with trio.open_nursery() as nursery:
        turns = _Turns(program, workspace, nursery)
        turns.kept = await turns.open()
        await serve_turns(turns)
        nursery.cancel_scope.cancel(reason="there are no more turns")


def main(arguments: list[str]) -> int:
    """Serve turns until stdin ends, and return the exit status."""
    return run_process(partial(_serve, *arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
