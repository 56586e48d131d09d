"""Renders answers in a process of its own, which may be killed in the middle of any of them.

The process is started by the first request and ended after `idle_s` without one. It is given one request
at a time; one that takes too long, or more than it may, kills it and has no rendering, and the next request
gets a new process. What was rendered lately is kept, so that many devices with one answer cost one
rendering, and so is that there was none.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs
import orjson
import trio

from transport.rendering.protocol import HEADER_BYTES, MAX_HTML_BYTES, NOTHING, Block

__all__ = ["MAX_SOURCE_CHARS", "RenderLimits", "Renderer"]

MAX_SOURCE_CHARS: Final = 256 * 1024
"""Of one answer, in code points. A longer one is shown as it is: people do not read it to its end."""

KEPT_BYTES: Final = 4 * 1024 * 1024
"""Of renderings that are kept for the next device: some hundred common answers."""

KEPT_COUNT: Final = 1000
"""Of those, and of answers known to have none."""

WAITING: Final = 64
"""Requests in line; more wait until there is room."""

END_S: Final = 2.0
"""How long a killed process may take to be gone; it is in nobody's way."""

_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT")
_ROOT = Path(__file__).resolve().parents[2]

logger = logging.getLogger("builderos.transport")


@attrs.frozen(kw_only=True)
class RenderLimits:
    """How long rendering may take.

    Attributes:
        cpu_s: of the processor's time, for one answer. Common ones take some milliseconds.
        wall_s: on the clock, the start of the process included.
        idle_s: the process is ended after so long without a request.
    """

    cpu_s: float = 3.0
    wall_s: float = 15.0
    idle_s: float = 60.0


@attrs.define(eq=False)
class _Request:
    """`final`: the same text would get the same answer again."""

    body: bytes
    done: trio.Event = attrs.field(factory=trio.Event)
    html: str | None = None
    final: bool = False
    wanted: bool = True


class _Broken(Exception):
    """The process ended, or its output is not an answer."""


class Renderer:
    """Runs the rendering process. A task must `run` it."""

    def __init__(self, limits: RenderLimits | None = None) -> None:
        self.limits = limits or RenderLimits()
        self._send, self._receive = trio.open_memory_channel[_Request](WAITING)
        self._kept: OrderedDict[bytes, str | None] = OrderedDict()
        self._kept_bytes = 0

    async def render(self, blocks: Sequence[Block]) -> str | None:
        """Return the HTML of an answer; None if it is to be shown as it is.

        That is so if it is too long, takes too long, or if nothing can be rendered here. Waits for
        those in front. Cancelled, it leaves the rendering to itself.
        """
        if sum(len(text) for _, text in blocks) > MAX_SOURCE_CHARS:
            await trio.lowlevel.checkpoint()
            return None
        request = _Request(orjson.dumps(blocks))
        digest = sha256(request.body).digest()
        if digest in self._kept:
            await trio.lowlevel.checkpoint()
            self._kept.move_to_end(digest)
            return self._kept[digest]
        try:
            await self._send.send(request)
            await request.done.wait()
        except BaseException:
            request.wanted = False
            raise
        if request.final:
            self._keep(digest, request.html)
        return request.html

    async def run(self) -> None:
        """Render until cancelled; then the process is gone."""
        while True:
            first = await self._receive.receive()
            try:
                async with _open_child(self.limits) as child:
                    await self._serve(child, first)
            except OSError as error:
                logger.warning("no process that renders: %s", error)
                first.done.set()

    async def _serve(self, child: trio.Process, first: _Request) -> None:
        """Answer requests with one process, until it is idle or broken."""
        request = first
        while True:
            if request.wanted and not await self._try(child, request):
                return
            with trio.move_on_after(self.limits.idle_s) as idle:
                request = await self._receive.receive()
            if idle.cancelled_caught:
                return

    async def _try(self, child: trio.Process, request: _Request) -> bool:
        """Answer a request; False if the process is of no use any more."""
        try:
            with trio.fail_after(self.limits.wall_s):
                request.html = await _exchange(child, request.body)
            request.final = True
        except (trio.BrokenResourceError, _Broken):
            request.final = True  # it died of this text, or will again
            logger.info("an answer of %d bytes could not be rendered", len(request.body))
            return False
        except trio.TooSlowError:
            logger.warning("an answer was not rendered in %.0f s", self.limits.wall_s)
            return False
        finally:
            request.done.set()
        return True

    def _keep(self, digest: bytes, html: str | None) -> None:
        if digest in self._kept:
            return
        self._kept[digest] = html
        self._kept_bytes += len(html or "")
        while self._kept_bytes > KEPT_BYTES or len(self._kept) > KEPT_COUNT:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest or "")


@asynccontextmanager
async def _open_child(limits: RenderLimits) -> AsyncIterator[trio.Process]:
    """Run the process inside the block; at its end it is killed and gone.

    Raises:
        OSError: it cannot be started.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "transport.rendering.worker", str(limits.cpu_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=_ROOT,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        # Lost when this fires: a zombie until the server ends.
        with trio.move_on_after(END_S, shield=True):
            await process.wait()
            await _close_pipes(process)


async def _close_pipes(process: trio.Process) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            await trio.aclose_forcefully(pipe)


async def _exchange(child: trio.Process, body: bytes) -> str | None:
    assert child.stdin is not None
    await child.stdin.send_all(len(body).to_bytes(HEADER_BYTES, "big") + body)
    size = int.from_bytes(await _read_exactly(child, HEADER_BYTES), "big")
    if size == NOTHING:
        return None
    if size > MAX_HTML_BYTES:
        raise _Broken
    return (await _read_exactly(child, size)).decode()


async def _read_exactly(child: trio.Process, size: int) -> bytes:
    assert child.stdout is not None
    got = bytearray()
    while len(got) < size:
        chunk = await child.stdout.receive_some(size - len(got))
        if not chunk:
            raise _Broken
        got += chunk
    return bytes(got)
