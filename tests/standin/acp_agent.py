"""An agent that speaks the Agent Client Protocol, written from its specification: `python -I acp_agent.py FOLDER`.

Nothing but the standard library. It keeps its conversations in FOLDER. The message says what it does (`ACTS`), what
it cannot and how it misbehaves is in `ACP_STANDIN`, as JSON: `load`, `resume`, `signed_in`, `choices`, `replay`,
`refuses` (the error of each conversation that is to be taken up), `list`, `cwd` (of the conversations in its list).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

OPTIONS = {
    "load": True,
    "resume": False,
    "list": False,
    "signed_in": True,
    "choices": "options",
    "replay": 1,
    "version": 1,
    "embedded": True,
    **json.loads(os.environ.get("ACP_STANDIN", "{}")),
}
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
MODES = {"ask": "Ask", "plan": "Plan", "yolo": "Never ask"}
MODELS = {"small": "Small", "large": "Large"}
PERMISSION = [
    {"optionId": "once", "name": "Allow once", "kind": "allow_once"},
    {"optionId": "always", "name": "Always allow", "kind": "allow_always"},
    {"optionId": "folder", "name": "Always allow in this folder", "kind": "allow_always"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
    {"optionId": "never", "name": "Reject always", "kind": "reject_always"},
]


class Agent:
    """One program; it does one thing after another."""

    def __init__(self) -> None:
        self.session_id = ""
        self.said: list[str] = []
        self.mode, self.model = "ask", "small"
        self.cancelled = False
        self.ids = 0
        self.tools = 0
        self.servers: list[dict[str, Any]] = []
        self.answers: dict[Any, dict[str, Any]] = {}
        self.late: list[dict[str, Any]] = []

    # ---- the wire ----

    def write(self, message: dict[str, Any]) -> None:
        self.raw(json.dumps({"jsonrpc": "2.0", **message}) + "\n")

    def raw(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def update(self, kind: str, session_id: str = "", /, **fields: Any) -> None:
        update = {"sessionUpdate": kind, **fields}
        params = {"sessionId": session_id or self.session_id, "update": update}
        self.write({"method": "session/update", "params": params})

    def text(self, text: str, kind: str = "agent_message_chunk", **fields: Any) -> None:
        self.update(kind, content={"type": "text", "text": text}, **fields)

    def read(self) -> dict[str, Any]:
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask the client and wait; notifications that come in between are heard."""
        self.ids += 1
        number = self.ids
        self.write({"id": number, "method": method, "params": {"sessionId": self.session_id, **params}})
        while True:
            message = self.read()
            if "method" in message:
                self.hear(message)
            elif message.get("id") == number:
                return message

    def hear(self, message: dict[str, Any]) -> None:
        if message["method"] == "session/cancel":
            self.cancelled = True
        elif "id" in message:
            self.write({"id": message["id"], **self.called(message["method"], message.get("params") or {})})

    # ---- calls ----

    def run(self) -> None:
        while True:
            message = self.read()
            if message.get("method") == "session/prompt":
                self.cancelled = False
                result = self.prompt(message["params"])
                if result is not None:
                    self.write_with_late({"id": message["id"], **result})
            elif "method" in message:
                self.hear(message)

    def write_with_late(self, answer: dict[str, Any]) -> None:
        """Write an answer and what comes right behind it at once, so that it is one read for the client."""
        late, self.late = self.late, []
        lines = [answer, *({"method": "session/update", "params": self.about(one)} for one in late)]
        self.raw("".join(json.dumps({"jsonrpc": "2.0", **one}) + "\n" for one in lines))

    def about(self, update: dict[str, Any]) -> dict[str, Any]:
        return {"sessionId": self.session_id, "update": update}

    def called(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "initialize":
                capabilities = {
                    "loadSession": OPTIONS["load"],
                    "mcpCapabilities": {"http": True},
                    "promptCapabilities": {"image": True, "embeddedContext": OPTIONS["embedded"]},
                    "sessionCapabilities": {
                        name: {} for name in ("resume", "list") if OPTIONS[name] is not False
                    },
                }
                methods = [{"id": "key", "name": "Use a key", "description": "set STANDIN_KEY"}]
                info = {"name": "standin", "title": "Stand-in", "version": "1.2.3"}
                return {
                    "result": {
                        "protocolVersion": OPTIONS["version"],
                        "agentCapabilities": capabilities,
                        "authMethods": methods,
                        "agentInfo": info,
                    }
                }
            case "session/new":
                if not OPTIONS["signed_in"]:
                    return {"error": {"code": -32000, "message": "Authentication required"}}
                self.session_id, self.said = f"s{time.time_ns()}", []
                self.servers = params["mcpServers"]
                self.tell_commands_early()
                return {"result": {"sessionId": self.session_id, **self.choices()}}
            case "session/list":
                return self.listed(params)
            case "session/load" | "session/resume":
                return self.take_up(method, params)
            case "session/set_mode":
                if params["modeId"] == "yolo":
                    return {"error": {"code": -32602, "message": "not that one"}}
                self.mode = params["modeId"]
                self.tell_mode()
                return {"result": {}}
            case "session/set_model":
                self.model = params["modelId"]
                return {"result": {}}
            case "session/set_config_option":
                setattr(self, params["configId"], params["value"])
                self.tell_mode()
                return {"result": self.choices()}
        return {"error": {"code": -32601, "message": "no such method"}}

    def take_up(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if OPTIONS.get("refuses"):
            return {"error": OPTIONS["refuses"]}
        kept = FOLDER / f"{params['sessionId']}.json"
        if not kept.exists():
            return {"error": {"code": -32002, "message": "no such session"}}
        self.session_id, self.said = params["sessionId"], json.loads(kept.read_text())
        self.servers = params["mcpServers"]
        while method == "session/load" and OPTIONS["replay"] == "endless":
            self.text("again and again ")
        if method == "session/load":
            for one in self.said:
                self.text(one, "user_message_chunk")
                self.text(f"replayed {one}")
        self.tell_commands_early()
        return {"result": self.choices()}

    def tell_mode(self) -> None:
        if OPTIONS.get("tells_mode"):
            self.update("current_mode_update", currentModeId=self.mode)

    def tell_commands_early(self) -> None:
        for name in OPTIONS.get("early_commands", ()):
            self.update("available_commands_update", "another", availableCommands=[{"name": "not-ours"}])
            self.update("available_commands_update", availableCommands=[{"name": name}])

    def listed(self, params: dict[str, Any]) -> dict[str, Any]:
        """Give a page of one: the cursor is the number of the next."""
        if OPTIONS["list"] == "endless":
            return {"result": {"sessions": [], "nextCursor": "on"}}
        names = sorted(path.stem for path in FOLDER.glob("s*.json"))
        at = int(params.get("cursor", 0))
        after = {"nextCursor": str(at + 1)} if at + 1 < len(names) else {}
        about = {
            "cwd": OPTIONS.get("cwd", os.getcwd()),
            "title": "Of  the\ndesk",
            "updatedAt": "2026-01-02T03:04:05Z",
        }
        return {"result": {"sessions": [{"sessionId": one, **about} for one in names[at : at + 1]], **after}}

    def choices(self) -> dict[str, Any]:
        modes = [{"id": one, "name": name} for one, name in MODES.items()]
        models = [{"modelId": one, "name": name} for one, name in MODELS.items()]
        if OPTIONS["choices"] == "none":
            return {}
        if OPTIONS["choices"] == "lists":
            return {
                "modes": {"currentModeId": self.mode, "availableModes": modes},
                "models": {"currentModelId": self.model, "availableModels": models},
            }
        return {"configOptions": [option("mode", self.mode, MODES), option("model", self.model, MODELS)]}

    def prompt(self, params: dict[str, Any]) -> dict[str, Any] | None:
        blocks = params["prompt"]
        text = next(one["text"] for one in reversed(blocks) if one["type"] == "text")
        self.said.append(text)
        (FOLDER / f"{self.session_id}.json").write_text(json.dumps(self.said))
        (FOLDER / "prompt.json").write_text(json.dumps({"blocks": blocks, "servers": self.servers}))
        word, _, rest = text.partition(" ")
        act = getattr(self, f"act_{word}", None)
        if act is None:
            self.text("you ")
            self.text(f"said {text} ({len(self.said)})")
            return self.ended()
        result: dict[str, Any] | None = act(rest)
        return result

    def ended(self, reason: str = "end_turn") -> dict[str, Any]:
        usage = {"inputTokens": 7, "outputTokens": 3, "cachedReadTokens": 2, "totalTokens": 10}
        return {"result": {"stopReason": "cancelled" if self.cancelled else reason, "usage": usage}}

    # ---- what a message may ask for ----

    def act_think(self, rest: str) -> Any:
        self.text(rest, "agent_thought_chunk")
        self.text("done thinking")
        return self.ended()

    def act_settings(self, _: str) -> Any:
        self.text(f"mode={self.mode} model={self.model}")
        return self.ended()

    def act_stop(self, reason: str) -> Any:
        return self.ended(reason)

    def act_fail(self, code: str) -> Any:
        return {"error": {"code": int(code), "message": "it went wrong"}}

    def act_plan(self, rest: str) -> Any:
        entries = [{"content": one, "priority": "high", "status": "in_progress"} for one in rest.split(",")]
        self.update("plan", entries=entries)
        return self.ended()

    def act_tell(self, _: str) -> Any:
        command = {"name": "review", "description": "Review it", "input": {"hint": "FILE"}}
        self.update("available_commands_update", availableCommands=[command])
        self.update("usage_update", used=100, size=1000, cost={"amount": 0.5, "currency": "USD"})
        self.update("current_mode_update", currentModeId="plan")
        self.text("told")
        return self.ended()

    def act_later(self, _: str) -> Any:
        """Change mode and commands once the turn is over."""
        commands = [{"name": "review", "description": "Review it"}]
        self.mode = "plan"
        self.late = [
            {"sessionUpdate": "available_commands_update", "availableCommands": commands},
            {"sessionUpdate": "current_mode_update", "currentModeId": self.mode},
        ]
        return self.ended()

    def act_write(self, rest: str) -> Any:
        name, _, content = rest.partition(" ")
        path = Path.cwd() / name
        old = path.read_text() if path.exists() else None
        call: dict[str, Any] = {"toolCallId": self.next_tool(), "title": f"Write {name}", "kind": "edit"}
        self.update("tool_call", **call, status="pending", rawInput={})
        diff = {"type": "diff", "path": str(path), "oldText": old, "newText": content + "\n"}
        call |= {"content": [diff], "rawInput": {"path": str(path)}, "locations": [{"path": str(path)}]}
        chosen = self.permission(call)
        if chosen in ("once", "always", "folder"):
            path.write_text(content + "\n")
        status = "completed" if chosen in ("once", "always", "folder") else "failed"
        output = {"type": "content", "content": {"type": "text", "text": f"chose {chosen}"}}
        self.update("tool_call_update", toolCallId=call["toolCallId"], status=status, content=[output, diff])
        return self.ended()

    def act_bare(self, _: str) -> Any:
        self.text(f"chose {self.permission({'toolCallId': 'never-heard-of'})}")
        return self.ended()

    def act_approve(self, rest: str) -> Any:
        options = [
            {"optionId": "exit-plan-default", "name": "Yes, and ask", "kind": "allow_once"},
            {"optionId": "exit-plan-bypass", "name": "Yes, and bypass permissions", "kind": "allow_always"},
            {"optionId": "no", "name": "Keep planning", "kind": "reject_once"},
        ]
        call = {
            "toolCallId": self.next_tool(),
            "title": "Ready to code?",
            "kind": "switch_mode",
            "rawInput": {"plan": rest},
        }
        self.text(f"chose {self.permission(call, options)}")
        return self.ended()

    def permission(self, call: dict[str, Any], options: Any = PERMISSION) -> str:
        answer = self.ask("session/request_permission", {"toolCall": call, "options": options})
        outcome = answer["result"]["outcome"]
        return str(outcome.get("optionId") or outcome["outcome"])

    def next_tool(self) -> str:
        self.tools += 1
        return f"call-{len(self.said)}-{self.tools}"

    def act_client(self, rest: str) -> Any:
        """Have the client do something: METHOD JSON; say its answer."""
        method, _, params = rest.partition(" ")
        answer = self.ask(method, json.loads(params or "{}"))
        self.text(json.dumps(answer.get("result", answer.get("error"))))
        return self.ended()

    def act_shell(self, command: str) -> Any:
        """Run a command in a terminal of the client's, shown in a tool call."""
        made = self.ask("terminal/create", {"command": "/bin/sh", "args": ["-c", command]})
        if "error" in made:
            self.text(made["error"]["message"])
            return self.ended()
        terminal = {"terminalId": made["result"]["terminalId"]}
        call = self.next_tool()
        content = [{"type": "terminal", **terminal}]
        self.update(
            "tool_call", toolCallId=call, title=command, kind="execute", status="in_progress", content=content
        )
        status = self.ask("terminal/wait_for_exit", terminal)["result"]
        output = self.ask("terminal/output", terminal)["result"]
        self.ask("terminal/release", terminal)
        self.update("tool_call_update", toolCallId=call, status="completed")
        self.text(
            json.dumps({"status": status, "output": output["output"], "truncated": output["truncated"]})
        )
        return self.ended()

    def act_wait(self, _: str) -> Any:
        """Say something, then wait for a cancel."""
        self.text("waiting")
        while not self.cancelled:
            self.hear(self.read())
        self.text(" late words")
        return self.ended()

    def act_hang(self, _: str) -> Any:
        self.text("hanging")
        while True:
            self.read()

    def act_die(self, _: str) -> Any:
        self.text("last words")
        sys.stderr.write("it is over\n")
        os._exit(3)

    # ---- misbehaviour ----

    def act_raw(self, rest: str) -> Any:
        self.raw(rest + "\n")
        return self.ended()

    def act_updates(self, rest: str) -> Any:
        """Send these updates of the conversation, a JSON list."""
        for update in json.loads(rest):
            params = {"sessionId": self.session_id, "update": update}
            self.write({"method": "session/update", "params": params})
        return self.ended()

    def act_long(self, size: str) -> Any:
        self.text("x" * int(size))
        return self.ended()

    def act_flood(self, count: str) -> Any:
        for number in range(int(count)):
            self.text(f"{number} ")
        return self.ended()

    def act_strange(self, count: str) -> Any:
        """Tell of tool calls that were never announced."""
        for number in range(int(count)):
            self.update(
                "tool_call_update", toolCallId=f"strange-{number}", status="completed", title="Strange"
            )
        return self.ended()

    def act_open(self, count: str) -> Any:
        """Begin tool calls and end none."""
        for number in range(int(count)):
            self.update(
                "tool_call", toolCallId=f"open-{number}", title="Open", kind="read", status="in_progress"
            )
        return self.ended()

    def act_ask_all(self, count: str) -> Any:
        """Ask for many permissions at once; say how each was answered."""
        for number in range(int(count)):
            call = {"toolCallId": f"many-{number}", "title": f"Many {number}"}
            params = {"sessionId": self.session_id, "toolCall": call, "options": PERMISSION}
            self.write({"id": f"q{number}", "method": "session/request_permission", "params": params})
        found: list[str] = []
        while len(found) < int(count):
            message = self.read()
            if "method" in message:
                self.hear(message)
            else:
                outcome = message["result"]["outcome"]
                found.append(str(outcome.get("optionId") or outcome["outcome"]))
        self.text(json.dumps(sorted(found)))
        return self.ended()

    def act_others(self, _: str) -> Any:
        """Tell of, and ask for, another session; say things nobody knows."""
        self.update("agent_message_chunk", "another", content={"type": "text", "text": "not yours"})
        self.update("no_such_update", stuff=[1, 2])
        self.write({"method": "no/such/notification", "params": {"a": 1}})
        answer = self.ask("craft/drainMidTurnQueue", {})
        permission = self.ask(
            "session/request_permission", {"sessionId": "another", "toolCall": {}, "options": []}
        )
        self.text(f"{answer['error']['code']} {permission['result']['outcome']['outcome']}")
        return self.ended()

    def act_twice(self, _: str) -> Any:
        """Answer things that were not asked, then continue."""
        self.write({"id": 999999, "result": {"stopReason": "end_turn"}})
        self.write({"id": 1, "result": {}})
        self.text("still here")
        return self.ended()


def option(name: str, value: str, values: dict[str, str]) -> dict[str, Any]:
    options = [{"value": one, "name": label} for one, label in values.items()]
    told = {"id": name, "name": name, "category": name, "type": "select", "currentValue": value}
    return {**told, "options": options}


if __name__ == "__main__":
    Agent().run()
