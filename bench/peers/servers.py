"""The servers that are compared, each as its users start it, with one interface. All stay on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import httpx
import orjson
import psutil
import trio

from bench.errors import BenchError
from bench.processes import proportional_kib

__all__ = ["LIMIT_S", "PeerServer", "Stream", "bundled_claude"]

LIMIT_S = 60.0
"""How long anything may take before it counts as broken."""

Stream = AsyncIterator[tuple[bytes, int]]
"""Lines that a device gets, and the bytes that came for each."""


def bundled_claude() -> Path:
    """Return the Claude Code program of the Agent SDK. Raises BenchError if there is none."""
    try:
        import claude_agent_sdk
    except ImportError as error:
        raise BenchError("the claude agent is not installed; `make install` brings it") from error
    found = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    if not found.exists():
        raise BenchError("the Agent SDK has no program of its own here")
    return found


@attrs.define(eq=False)
class PeerServer(ABC):
    """One server and its files in `folder`. Everything that it starts has `home` as its home.

    Attributes:
        env: its environment, with the address of the stand-in.
        port: where it listens.
    """

    folder: Path
    env: dict[str, str]
    port: int
    processes: list[trio.Process] = attrs.field(factory=list)

    @property
    def home(self) -> Path:
        """Its home folder."""
        return Path(self.env["HOME"])

    @property
    def workspace(self) -> Path:
        """The folder that its agent works in."""
        return self.folder / "workspace"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    async def start(self) -> None:
        """Start it, and return once it accepts sessions."""

    @abstractmethod
    async def session(self) -> str:
        """Make a session; return its id."""

    @abstractmethod
    def watch(self, session_id: str, after: str | None = None) -> Stream:
        """Follow a session as a device; `after`: where an earlier stream ended, if the server names places."""

    @abstractmethod
    async def send(self, session_id: str, text: str, message_id: str) -> None:
        """Send a message as a device."""

    @abstractmethod
    async def decide(self, session_id: str, question: str, *, allow: bool) -> str:
        """Decide a request as a device of its own; return what the device is answered."""

    @abstractmethod
    async def history(self, session_id: str) -> str:
        """Return the text of the last answer, as a device reads it afterwards."""

    def new_id(self) -> str:
        """Return an id for a message, as the server's own client makes one."""
        return uuid.uuid4().hex

    def place(self, line: bytes) -> str | None:
        """Return the place that a line of the stream names."""
        return None

    async def kill9(self) -> None:
        """Kill the server itself, not its agents."""
        self.processes[0].kill()
        await self.processes[0].wait()

    async def restart(self) -> None:
        """Start it again."""
        self.processes.clear()
        await self.start()

    async def run(self, *words: str) -> None:
        """Start a program of it."""
        log = (self.folder / "server.log").open("ab")
        self.processes.append(
            await trio.lowlevel.open_process(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                cwd=self.workspace,
            )
        )
        log.close()

    def all_processes(self) -> list[psutil.Process]:
        """Return every process that has its home, so also those that have detached."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
        return found

    def memory_mb(self) -> float:
        """Return the memory of all of them, MB; pages that they share count once."""
        total = 0.0
        for process in self.all_processes():
            with suppress(BenchError):  # it has just ended
                total += proportional_kib(process.pid)
        return total * 1024 / 1e6

    async def stop(self) -> None:
        """End everything that it started."""
        for process in self.all_processes():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        for process in self.processes:
            with trio.move_on_after(LIMIT_S, shield=True):
                await process.wait()

    # ---- HTTP ----

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Do a request as a device."""
        async with self._client() as http:
            return await http.request(method, path, json=body)

    async def until_ready(self, path: str) -> None:
        """Wait until the server answers. Raises BenchError if it does not."""
        with trio.move_on_after(LIMIT_S):
            while True:
                # A server that has just begun to listen may never answer the first request.
                with suppress(httpx.HTTPError), trio.move_on_after(2):
                    if (await self.call("GET", path)).status_code < 500:
                        return
                await trio.sleep(0.05)
        words = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()[-3:]
        raise BenchError(f"the server on port {self.port} does not answer: {' / '.join(words)}")

    def headers(self) -> dict[str, str]:
        """Return what signs a device in."""
        return {}

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=self.headers(), timeout=LIMIT_S, trust_env=False)

    async def events(self, path: str, after: str | None) -> Stream:  # noqa: ASYNC900 - its reader closes it
        """Give the lines of a stream of server-sent events."""
        more = {"accept": "text/event-stream", "accept-encoding": "identity"}
        if after is not None:
            more["last-event-id"] = after
        async with self._client() as http, http.stream("GET", path, headers=more, timeout=None) as answer:
            if answer.status_code != 200:
                raise BenchError(f"its stream answers {answer.status_code}")
            yield b"", 0  # noqa: ASYNC119 - the same
            held = b""
            async for chunk in answer.aiter_raw():
                held += chunk
                *lines, held = held.split(b"\n")
                for line in lines:
                    yield line.removeprefix(b"data: "), len(line) + 1  # noqa: ASYNC119 - the same


def python_words(module: str, *arguments: str) -> Sequence[str]:
    """Return how a module of this checkout runs."""
    return [sys.executable, "-m", module, *arguments]


def path_with(folder: Path) -> str:
    """Return a PATH with `folder` first."""
    return f"{folder}{os.pathsep}/usr/local/bin:/usr/bin:/bin"


def body_of(answer: httpx.Response) -> Any:
    """Return the JSON of a good answer. Raises BenchError."""
    if not answer.is_success:
        raise BenchError(f"{answer.request.url.path} answers {answer.status_code}: {answer.text[:200]}")
    return orjson.loads(answer.content) if answer.content else None


@asynccontextmanager
async def running(server: PeerServer) -> AsyncIterator[PeerServer]:
    """Run a server while inside the block; everything that it started ends with it."""
    server.workspace.mkdir(parents=True, exist_ok=True)
    server.home.mkdir(parents=True, exist_ok=True)
    try:
        await server.start()
        yield server
    finally:
        with trio.move_on_after(LIMIT_S, shield=True):
            await server.stop()
