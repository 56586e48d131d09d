"""An MCP server over stdio with one tool, `delegate`, for an agent that starts its tools as programs.

`python -I delegation_stdio.py SOCKET AGENT…`. It knows nothing of the work: each call goes as one line to the
hub that listens on SOCKET, and the hub's line comes back as the result. A call that is given up closes its
connection, which the hub takes as the end of the task.

Run by its path, without this package on the path, so it uses nothing but the standard library: it starts with
every Codex program and is there in 30 ms.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["SERVER", "TOOL", "main", "tool_description", "tool_schema"]

SERVER = "builderos"
TOOL = "delegate"

PROTOCOL = "2025-06-18"
"""The MCP revision that is spoken if the client names none."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""A hub's line; a result is at most 256 Ki characters, as JSON up to six bytes each."""

_METHOD_NOT_FOUND = -32601
_INVALID_REQUEST = -32600


def tool_description() -> str:
    """Return what the tool does, for the agent that may use it."""
    return (
        "Hand a piece of work to another coding agent in the same workspace and wait for its answer. It sees "
        "nothing of this conversation: say in `task` what to do and what to answer with, and put all that it "
        "has to know into `context`. Several calls may run side by side."
    )


def tool_schema(agents: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of the tool's input."""
    return {
        "type": "object",
        "properties": {
            "agent": {"type": "string", "enum": list(agents), "description": "Who does the work."},
            "task": {"type": "string", "description": "What to do, complete in itself."},
            "context": {"type": "string", "description": "What the other agent has to know for it."},
        },
        "required": ["agent", "task"],
        "additionalProperties": False,
    }


class _Server:
    """Answers one client on two streams; each call of the tool has a thread and a connection of its own."""

    def __init__(self, path: str, agents: Sequence[str]) -> None:
        self.path = path
        self.agents = agents
        self._writing = threading.Lock()
        self._calls: dict[object, socket.socket] = {}

    def take(self, message: dict[str, Any]) -> None:
        """Act on one message."""
        method, number = message.get("method"), message.get("id")
        params = message.get("params") if isinstance(message.get("params"), dict) else {}
        assert isinstance(params, dict)
        if method == "notifications/cancelled":
            self._give_up(params.get("requestId"))
        elif number is None or method is None:
            return
        elif method == "initialize":
            self._result(number, self._greeting(params))
        elif method == "ping":
            self._result(number, {})
        elif method == "tools/list":
            listed = {
                "name": TOOL,
                "description": tool_description(),
                "inputSchema": tool_schema(self.agents),
            }
            self._result(number, {"tools": [listed]})
        elif method == "tools/call":
            threading.Thread(target=self._call, args=(number, params), daemon=True).start()
        else:
            self._send({"id": number, "error": {"code": _METHOD_NOT_FOUND, "message": f"no {method}"}})

    def refuse_line(self) -> None:
        """Answer a line that was not a message."""
        self._send({"id": None, "error": {"code": _INVALID_REQUEST, "message": "no JSON object"}})

    def _greeting(self, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "protocolVersion": params.get("protocolVersion") or PROTOCOL,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": SERVER, "version": "1"},
        }

    def _call(self, number: object, params: dict[str, Any]) -> None:
        try:
            text, is_error = self._ask_hub(number, params.get("arguments"))
        except (OSError, ValueError, KeyError, TypeError):
            text, is_error = "The work could not be handed out: nobody takes it at the moment.", True
        finally:
            self._calls.pop(number, None)
        self._result(number, {"content": [{"type": "text", "text": text}], "isError": is_error})

    def _ask_hub(self, number: object, arguments: object) -> tuple[str, bool]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hub:
            self._calls[number] = hub
            hub.connect(self.path)
            hub.sendall(json.dumps(arguments).encode() + b"\n")
            with hub.makefile("rb") as answers:
                answer = json.loads(answers.readline(MAX_ANSWER_BYTES))
        return str(answer["text"]), bool(answer["is_error"])

    def _give_up(self, number: object) -> None:
        hub = self._calls.get(number)
        if hub is not None:
            try:
                hub.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # not connected yet, or over

    def _result(self, number: object, result: dict[str, Any]) -> None:
        self._send({"id": number, "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
        with self._writing:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def main(arguments: Sequence[str]) -> int:
    """Serve until stdin ends; return the exit status."""
    server = _Server(arguments[0], arguments[1:])
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict):
            server.take(message)
        elif line.strip():
            server.refuse_line()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
