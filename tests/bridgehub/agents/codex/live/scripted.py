"""A program of Codex whose every message a test gives, for what the real one does within microseconds only."""

from __future__ import annotations

import math
from typing import Any, cast

import attrs
import orjson
import trio

from bridgehub.agents.codex.session import CodexSession
from bridgehub.agents.json_rpc.messages import Speech
from bridgehub.agents.json_rpc.program import Program
from bridgehub.agents.json_rpc.wires import Batched

__all__ = ["THREAD", "Scripted", "asks", "completed", "said", "started", "told"]

THREAD = "thread-1"

Row = dict[str, Any]


@attrs.define(eq=False)
class Scripted:
    """The wire to such a program. `sent`: what was written to it. It answers each call with an empty result.

    `turns`: the turns that it says take the prompts, by their order.
    """

    turns: list[str] = attrs.field(factory=list)
    sent: list[Row] = attrs.field(factory=list)
    _rows: tuple[trio.MemorySendChannel[list[Row]], trio.MemoryReceiveChannel[list[Row]]] = attrs.field(
        factory=lambda: trio.open_memory_channel[list[Row]](math.inf)
    )

    def program(self, speech: Speech | None = None) -> Program:
        """Return a program on this wire. The test runs it."""
        return Program(self, None, "run", speech=speech or Speech())

    def session(self, socket: str | None = None, process: object = None) -> CodexSession:
        """Return a session on such a program, which listens on `socket` and is our own if it has a `process`."""
        program = Program(self, cast("trio.Process", process), "run")
        return CodexSession(program, THREAD, "", socket)

    def says(self, *rows: Row) -> None:
        """Have the program write these messages, all in one read."""
        self._rows[0].send_nowait(list(rows))

    async def receive(self, ripe_at: float = -math.inf) -> Batched | None:
        """See `ProgramWire`."""
        rows = await self._rows[1].receive()
        return iter([bytearray(orjson.dumps(one)) for one in rows]), True

    async def send(self, message: bytes) -> None:
        """See `ProgramWire`."""
        row = orjson.loads(message)
        self.sent.append(row)
        if "method" in row and "id" in row:
            turn = {"turn": {"id": self.turns.pop(0)}} if row["method"] == "turn/start" else {}
            self.says({"id": row["id"], "result": turn})
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See `ProgramWire`."""
        await trio.lowlevel.checkpoint()

    def prompt_id(self, index: int = -1) -> str:
        """Return our id of a prompt that was sent."""
        prompts = [one["params"] for one in self.sent if one.get("method") == "turn/start"]
        return str(prompts[index]["clientUserMessageId"])


def told(method: str, thread: str = THREAD, **params: Any) -> Row:
    """Return a notification about a thread."""
    return {"method": method, "params": {"threadId": thread, **params}}


def started(turn: str, thread: str = THREAD, root: str | None = None) -> Row:
    """Return the start of a turn."""
    return told("turn/started", thread, turn={"id": turn, "rootTurnId": root or turn})


def completed(turn: str, thread: str = THREAD) -> Row:
    """Return the end of a turn."""
    return told("turn/completed", thread, turn={"id": turn, "status": "completed"})


def said(turn: str, text: str, client_id: str) -> Row:
    """Return a person's message in a turn."""
    content = [{"type": "text", "text": text}]
    item = {"type": "userMessage", "id": f"item-{text}", "clientId": client_id, "content": content}
    return told("item/started", turnId=turn, item=item)


def asks(number: int, turn: str, command: str) -> Row:
    """Return a question about a command."""
    params = {"threadId": THREAD, "turnId": turn, "itemId": f"call-{number}", "command": command, "cwd": "/"}
    return {"id": number, "method": "item/commandExecution/requestApproval", "params": params}
