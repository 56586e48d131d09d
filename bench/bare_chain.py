"""The yardstick: socket line → SQLite commit → three WebSocket sends, in the simplest form, as a process of its own.

`python -m bench.bare_chain SOCKET DATABASE [--join]` prints `port N` once devices and a producer may connect.
Each line is committed as a row of its own before it is sent to every device in turn. No sessions, no positions,
no replay, no limits: what is measured against it is the price of having these.

A device gets what its path's producer sends: a producer that names none in a first line `{"type":"session","content":
PATH}` sends to `/`.

With `--join` everything that one read of the socket brought is one transaction, still with a row a line, and one
frame: the harder yardstick for throughput.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import apsw
import attrs
import orjson
import trio
import trio_websocket

__all__ = ["main"]

_READ_BYTES = 65536
_SESSION = b'{"type":"session"'
_TABLE = "CREATE TABLE piece (seq INTEGER PRIMARY KEY, content TEXT NOT NULL)"
_INSERT = "INSERT INTO piece (content) VALUES (?)"


@attrs.define(eq=False)
class _Chain:
    join: bool
    connection: apsw.Connection
    limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    devices: dict[str, list[trio_websocket.WebSocketConnection]] = attrs.field(factory=dict)

    async def serve_device(self, request: trio_websocket.WebSocketRequest) -> None:
        device = await request.accept()
        self.devices.setdefault(request.path, []).append(device)
        try:
            while True:
                await device.get_message()
        except trio_websocket.ConnectionClosed:
            pass
        finally:
            self.devices[request.path].remove(device)

    async def serve_producer(self, stream: trio.SocketStream) -> None:
        rest, path = b"", "/"
        while data := await stream.receive_some(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            if lines and lines[0].startswith(_SESSION):
                path = orjson.loads(lines.pop(0))["content"]
            if self.join and lines:
                await self._pass_on(lines, path)
            elif lines:
                for line in lines:
                    await self._pass_on([line], path)

    async def _pass_on(self, lines: Sequence[bytes], path: str) -> None:
        messages = [orjson.loads(line) for line in lines]
        pieces = [message["content"] for message in messages if message["type"] == "message"]
        await trio.to_thread.run_sync(self._commit, pieces, limiter=self.limiter)
        leaving = [{"type": "message", "content": "".join(pieces)}] if pieces else []
        if messages[-1]["type"] != "message":
            leaving.append(messages[-1])
        for message in leaving:
            frame = orjson.dumps(message).decode()
            for device in self.devices.get(path, ()):
                await device.send_message(frame)

    def _commit(self, pieces: Sequence[str]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for piece in pieces:
            self.connection.execute(_INSERT, (piece,))
        self.connection.execute("COMMIT")


def _open(path: str) -> apsw.Connection:
    connection = apsw.Connection(path)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "normal")
    connection.execute(_TABLE)
    return connection


async def _serve(socket_path: str, database: str, *, join: bool) -> None:
    chain = _Chain(join, _open(database))
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(socket_path)
    listening.listen()
    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, ssl_context=None)
        server = await nursery.start(serve, chain.serve_device, "127.0.0.1", 0)
        nursery.start_soon(trio.serve_listeners, chain.serve_producer, [trio.SocketListener(listening)])
        print(f"port {server.port}", flush=True)


def main(arguments: list[str]) -> int:
    """Serve until killed."""
    trio.run(partial(_serve, arguments[0], arguments[1], join="--join" in arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
