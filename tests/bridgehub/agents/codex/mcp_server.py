"""A tiny MCP server on stdio, for the real programs: one tool, `greet`."""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["answer"]


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Return the result of one request."""
    match message.get("method"):
        case "initialize":
            return {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "practice", "version": "1"},
            }
        case "tools/list":
            schema = {"type": "object", "properties": {"who": {"type": "string"}}}
            return {"tools": [{"name": "greet", "description": "greets", "inputSchema": schema}]}
        case "tools/call":
            who = message["params"]["arguments"].get("who", "nobody")
            return {"content": [{"type": "text", "text": f"hello {who}"}]}
    return {}


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked:
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer(asked)}), flush=True)
