"""The socket on which a hub takes tasks from the MCP server beside an agent: one line in, one line back.

A connection is one task. It lies beside the hub's own socket, in a folder of mode 0700, and is itself open to
this user only, so it asks for no token. It is there during turns only.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import orjson
import trio

from bridgehub.delegation.tasks import Delegation, TaskResult
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["serve_socket", "socket_path_of"]

_log = logging.getLogger("builderos.bridgehub")

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A call: task and context have 256 Ki characters, as JSON up to six bytes each, and some to refuse."""

READ_BYTES = 64 * 1024

BACKLOG = 16
"""Calls that the kernel keeps until they are taken."""

_NO_CALL = TaskResult("A call needs the texts `agent` and `task`, and `context` where there is one.", True)


def socket_path_of(spec: HubSpec) -> Path:
    """Return where the socket lies: the hub's own path, at most 100 bytes, and one letter."""
    return Path(f"{spec.socket}d")


@asynccontextmanager
async def serve_socket(delegation: Delegation) -> AsyncIterator[None]:
    """Take calls while inside the block.

    Raises:
        OSError: the socket cannot be made.
        ExceptionGroup: what the block raised.
    """
    path = socket_path_of(delegation.spec)
    with suppress(FileNotFoundError):
        path.unlink()
    listener = _listen(path)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, partial(_serve, delegation), [listener])
            yield
            nursery.cancel_scope.cancel(reason="the turn is over")
    finally:
        with suppress(OSError):
            path.unlink()


def _listen(path: Path) -> trio.SocketListener:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.bind(os.fspath(path))  # here and not on Trio's thread: 10 us, and each turn waits for it
        os.chmod(path, 0o600)  # before it listens: nobody can have come in by then
        raw.listen(BACKLOG)
    except BaseException:
        raw.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(raw))


async def _serve(delegation: Delegation, stream: trio.SocketStream) -> None:
    """Serve one call; whatever goes wrong with it ends only its connection."""
    try:
        arguments = await _read_call(stream)
        if arguments is None:
            told = _NO_CALL
        else:
            told = await _run(delegation, stream, arguments)
        answer = {"text": told.text, "is_error": told.is_error}
        await stream.send_all(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        _log.info("a call of the delegate tool was given up")
    finally:
        await trio.aclose_forcefully(stream)


async def _read_call(stream: trio.SocketStream) -> dict[str, str] | None:
    line = bytearray()
    await trio.lowlevel.checkpoint()
    while not line.endswith(b"\n"):
        data = await stream.receive_some(READ_BYTES)
        line += data
        if not data or len(line) > MAX_LINE_BYTES:
            return None
    try:
        call = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(call, dict):
        return None
    texts = {"context": "", **{name: text for name, text in call.items() if text is not None}}
    names = ("agent", "task", "context")
    return (
        {name: texts[name] for name in names} if all(isinstance(texts.get(n), str) for n in names) else None
    )


async def _run(delegation: Delegation, stream: trio.SocketStream, arguments: dict[str, str]) -> TaskResult:
    """Run the task; a peer that goes away in the meantime cancels it."""
    told = TaskResult("The call was given up.", True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
        told = await delegation.new_task(**arguments)
        nursery.cancel_scope.cancel(reason="there is an answer")
    return told


async def _cancel_when_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(READ_BYTES):
            pass  # what comes behind a call means nothing
    scope.cancel(reason="the caller has gone")
