"""How each of the compared servers is started and spoken to."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from contextlib import suppress

import attrs
import orjson
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from bench.devices import say
from bench.errors import BenchError
from bench.peers.servers import LIMIT_S, PeerServer, Stream, body_of, bundled_claude
from bench.processes import ROOT

__all__ = ["Bare", "BuilderOS", "Hapi", "OpenCode"]

_MAX_FRAME = 16 * 1024 * 1024
_TOKEN = "a-token-of-the-bench-only"

PROGRAMS = ROOT / "build" / "peers" / "node_modules"


@attrs.define(eq=False)
class BuilderOS(PeerServer):
    """This server with Claude Code."""

    async def start(self) -> None:
        """Implements `PeerServer`."""
        data = ["--data", str(self.folder / "data"), "--workspace", str(self.workspace)]
        await self.run(sys.executable, "-m", "builderos", "serve", "--port", str(self.port), *data)
        await self.until_ready("/api/health")

    async def session(self) -> str:
        """Implements `PeerServer`. It is made by the first `attach`."""
        await trio.lowlevel.checkpoint()
        return f"s-{self.new_id()[:8]}"

    async def watch(self, session_id: str, after: str | None = None) -> Stream:  # noqa: ASYNC900 - its reader closes it
        """Implements `PeerServer`."""
        async with self._device(session_id, after) as device:
            yield b"", 0  # noqa: ASYNC119 - the same
            while True:
                line = str(await device.get_message()).encode()
                yield line, len(line)  # noqa: ASYNC119 - the same

    def place(self, line: bytes) -> str | None:
        """Implements `PeerServer`."""
        frame = orjson.loads(line or b"{}")
        return str(frame["seq"]) if "seq" in frame else None

    async def send(self, session_id: str, text: str, message_id: str) -> None:
        """Implements `PeerServer`."""
        async with self._device(session_id, None) as device:
            await say(
                device,
                {"type": "send", "session_id": session_id, "message_id": message_id, "content": text},
            )
            await _until(device, "accepted")

    async def decide(self, session_id: str, question: str, *, allow: bool) -> str:
        """Implements `PeerServer`."""
        async with self._device(session_id, None) as device:
            decision = "allow" if allow else "deny"
            frame = {"type": "decide", "session_id": session_id, "request_id": question, "decision": decision}
            await say(device, frame)
            answer = await _until(device, "accepted", "rejected", "permission_resolved")
            return str(answer.get("code") or answer["type"])

    async def history(self, session_id: str) -> str:
        """Implements `PeerServer`."""
        messages = body_of(await self.call("GET", f"/api/sessions/{session_id}/messages"))["messages"]
        return str(next(one["content"] for one in reversed(messages) if one["role"] == "assistant"))

    def headers(self) -> dict[str, str]:
        """Implements `PeerServer`."""
        with suppress(FileNotFoundError):
            return {"x-api-key": (self.folder / "data" / "api-key").read_text().strip()}
        return {}

    def _device(self, session_id: str, after: str | None) -> _Device:
        return _Device(self, session_id, after)


@attrs.define(eq=False)
class _Device:
    """A device of ours that is attached while inside the block."""

    server: BuilderOS
    session_id: str
    after: str | None
    _opened: object = None

    async def __aenter__(self) -> WebSocketConnection:
        url = f"ws://127.0.0.1:{self.server.port}/api/ws"
        headers = [(name.encode(), value.encode()) for name, value in self.server.headers().items()]
        self._opened = open_websocket_url(url, extra_headers=headers, max_message_size=_MAX_FRAME)
        device: WebSocketConnection = await self._opened.__aenter__()
        place = {} if self.after is None else {"after": {"epoch": 1, "seq": int(self.after)}}
        await say(
            device,
            {"type": "attach", "session_id": self.session_id, "agent": "claude", "history": 0, **place},
        )
        await _until(device, "attached")
        return device

    async def __aexit__(self, *error: object) -> None:
        await self._opened.__aexit__(*error)  # type: ignore[attr-defined]  # noqa: ASYNC102


async def _until(device: WebSocketConnection, *kinds: str) -> dict[str, object]:
    with trio.fail_after(LIMIT_S):
        while True:
            frame: dict[str, object] = orjson.loads(await device.get_message())
            if frame["type"] in kinds:
                return frame
            if frame["type"] in {"error", "rejected"} and "seq" not in frame:
                raise BenchError(f"our server refuses: {frame['content']}")


@attrs.define(eq=False)
class OpenCode(PeerServer):
    """opencode's server, with its own agent."""

    async def start(self) -> None:
        """Implements `PeerServer`."""
        program = str(PROGRAMS / ".bin" / "opencode")
        await self.run(program, "serve", "--hostname", "127.0.0.1", "--port", str(self.port))
        await self.until_ready("/doc")

    async def session(self) -> str:
        """Implements `PeerServer`."""
        return str(body_of(await self.call("POST", "/session", {}))["id"])

    def watch(self, session_id: str, after: str | None = None) -> Stream:
        """Implements `PeerServer`. Its stream is of all sessions."""
        return self.events("/event", after)

    async def send(self, session_id: str, text: str, message_id: str) -> None:
        """Implements `PeerServer`."""
        body = {"messageID": message_id, "parts": [{"type": "text", "text": text}]}
        body_of(await self.call("POST", f"/session/{session_id}/prompt_async", body))

    def new_id(self) -> str:
        """Implements `PeerServer`. As opencode's own client does: in the order of time, since it compares them."""
        return f"msg_{(time.time_ns() // 1_000_000 * 4096 + 1) & 0xFFFFFFFFFFFF:012x}{uuid.uuid4().hex[:14]}"

    async def decide(self, session_id: str, question: str, *, allow: bool) -> str:
        """Implements `PeerServer`."""
        reply = {"reply": "once" if allow else "reject"}
        answer = await self.call("POST", f"/permission/{question}/reply", reply)
        return "accepted" if answer.is_success else str(answer.status_code)

    async def history(self, session_id: str) -> str:
        """Implements `PeerServer`."""
        messages = body_of(await self.call("GET", f"/session/{session_id}/message"))
        answers = [one["parts"] for one in messages if one["info"]["role"] == "assistant"]
        return "".join(part["text"] for part in answers[-1] if part["type"] == "text") if answers else ""


@attrs.define(eq=False)
class Hapi(PeerServer):
    """HAPI's hub and runner, with Claude Code."""

    token: str = attrs.field(default="", repr=False)
    machine: str = ""

    async def start(self) -> None:
        """Implements `PeerServer`."""
        program = str(next(PROGRAMS.glob("@twsxtd/hapi-*/bin/hapi")))
        self.env |= {
            "CLI_API_TOKEN": _TOKEN,
            "HAPI_HOME": str(self.home / ".hapi"),
            "HAPI_API_URL": self.url,
            "HAPI_LISTEN_HOST": "127.0.0.1",
            "HAPI_LISTEN_PORT": str(self.port),
            "HAPI_CLAUDE_PATH": str(bundled_claude()),
        }
        await self.run(program, "hub")
        await self.until_ready("/health")
        self.token = body_of(await self.call("POST", "/api/auth", {"accessToken": _TOKEN}))["token"]
        if not self.machine:
            await self.run(program, "runner", "start-sync")
        with trio.fail_after(LIMIT_S):
            # Another program, which sets no event.
            while not (machines := body_of(await self.call("GET", "/api/machines"))["machines"]):  # noqa: ASYNC110
                await trio.sleep(0.05)
        self.machine = machines[0]["id"]

    async def session(self) -> str:
        """Implements `PeerServer`."""
        body = {"directory": str(self.workspace), "agent": "claude"}
        made = body_of(await self.call("POST", f"/api/machines/{self.machine}/spawn", body))
        if made.get("type") != "success":
            raise BenchError(f"no session: {made}")
        session_id = str(made["sessionId"])
        with trio.fail_after(LIMIT_S):
            while not await self._is_active(session_id):  # noqa: ASYNC110 - before this it takes no message
                await trio.sleep(0.02)
        return session_id

    async def _is_active(self, session_id: str) -> bool:
        found = body_of(await self.call("GET", f"/api/sessions/{session_id}"))
        return bool(found["session"]["active"])

    def watch(self, session_id: str, after: str | None = None) -> Stream:
        """Implements `PeerServer`."""
        return self.events(f"/api/events?sessionId={session_id}&visibility=visible", after)

    def place(self, line: bytes) -> str | None:
        """Implements `PeerServer`."""
        return line.removeprefix(b"id: ").decode() if line.startswith(b"id: ") else None

    async def send(self, session_id: str, text: str, message_id: str) -> None:
        """Implements `PeerServer`."""
        body = {"text": text, "localId": message_id}
        body_of(await self.call("POST", f"/api/sessions/{session_id}/messages", body))

    async def decide(self, session_id: str, question: str, *, allow: bool) -> str:
        """Implements `PeerServer`."""
        act = "approve" if allow else "deny"
        answer = await self.call("POST", f"/api/sessions/{session_id}/permissions/{question}/{act}", {})
        return "accepted" if answer.is_success else str(answer.status_code)

    async def history(self, session_id: str) -> str:
        """Implements `PeerServer`."""
        page = body_of(await self.call("GET", f"/api/sessions/{session_id}/messages?limit=200"))["messages"]
        text = ""
        for one in page:
            inner = one["content"].get("content") or {}
            if one["content"].get("role") == "user":
                text = ""
            elif inner.get("type") == "output" and inner["data"].get("type") == "assistant":
                text += "".join(
                    b["text"] for b in inner["data"]["message"]["content"] if b.get("type") == "text"
                )
        return text

    def headers(self) -> dict[str, str]:
        """Implements `PeerServer`."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}


@attrs.define(eq=False)
class Bare(PeerServer):
    """Claude Code alone, on pipes: the floor of what a server around it can reach."""

    _agent: trio.Process | None = None

    async def start(self) -> None:
        """Implements `PeerServer`. There is no server."""
        await trio.lowlevel.checkpoint()

    async def session(self) -> str:
        """Implements `PeerServer`."""
        streams = ["--input-format", "stream-json", "--output-format", "stream-json"]
        words = [str(bundled_claude()), "-p", *streams, "--include-partial-messages", "--verbose"]
        self._agent = await trio.lowlevel.open_process(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.env,
            cwd=self.workspace,
        )
        self.processes.append(self._agent)
        return "bare"

    async def watch(self, session_id: str, after: str | None = None) -> Stream:  # noqa: ASYNC900 - its reader closes it
        """Implements `PeerServer`."""
        assert self._agent is not None
        assert self._agent.stdout is not None
        yield b"", 0
        held = b""
        async for chunk in self._agent.stdout:
            held += chunk
            *lines, held = held.split(b"\n")
            for line in lines:
                yield line, len(line) + 1

    async def send(self, session_id: str, text: str, message_id: str) -> None:
        """Implements `PeerServer`."""
        assert self._agent is not None
        assert self._agent.stdin is not None
        body = {"type": "user", "message": {"role": "user", "content": text}}
        await self._agent.stdin.send_all(orjson.dumps(body) + b"\n")

    async def decide(self, session_id: str, question: str, *, allow: bool) -> str:
        """Implements `PeerServer`."""
        raise BenchError("no devices")

    async def history(self, session_id: str) -> str:
        """Implements `PeerServer`."""
        raise BenchError("no devices")
