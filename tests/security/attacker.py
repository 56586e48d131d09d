"""A program that attacks a server from a process of its own: `python -m tests.security.attacker ATTACK PORT KEY`.

It writes `attacking` once the attack is in full swing, continues until its input ends, and then writes what it saw as
one line of JSON. A process of its own, since an attack in the test's own would hold up the stream that is measured.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import attrs
import trio

HALF_OPEN: Final = 1_000
SLOW: Final = 100
FLOOD: Final = 16
STRANGERS: Final = 300
"""Connections at once."""

SLOW_S: Final = 0.05
"""Between two bytes of a slow one."""

UPGRADE: Final = (
    "GET /api/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-API-Key: {key}\r\n\r\n"
)
PING: Final = b"\x89\x80\0\0\0\0"
"""A ping, masked with zeros."""

STRANGE_UPGRADE: Final = UPGRADE.replace("X-API-Key: {key}\r\n", "")

EVERY_KIND: Final = {
    "empty fragments": (b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0" * 10_000),
    "fragments": (b"\x01\x81\0\0\0\0a", b"\x00\x81\0\0\0\0a" * 10_000),
    "pings": (b"", PING * 10_000),
    "pongs": (b"", b"\x8a\x80\0\0\0\0" * 10_000),
    "pings in a message": (b"\x01\x80\0\0\0\0", (PING + b"\x00\x80\0\0\0\0") * 5_000),
    "tiny frames": (b"", b"\x81\x80\0\0\0\0" * 10_000),
    "tiny binary frames": (b"", b"\x82\x80\0\0\0\0" * 10_000),
    "closes": (b"", b"\x88\x80\0\0\0\0" * 10_000),
    "half a frame": (b"\x81\xff\0\0\0\0\0\x10\0\0\0\0\0\0", b"a"),
    "a long frame": (b"\x81\xff\0\0\0\0\0\x10\0\0\0\0\0\0", b"a" * 65_536),
    "nonsense": (b"", b"\xff" * 60_000),
}
"""By name: what a stranger sends once its WebSocket is open, and what again and again then."""

BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@attrs.define(eq=False)
class Attack:
    """One attack. `of`: connections at once. `seen`: statuses and close codes, by how often they came."""

    port: int
    key: str
    of: int
    seen: Counter[str] = attrs.field(factory=Counter)
    swing: trio.Event = attrs.field(factory=trio.Event)
    _begun: int = 0
    _numbers: itertools.count[int] = attrs.field(factory=itertools.count)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    def begun(self) -> None:
        """Note that one connection does what it is to do; the swing is full with the last of them."""
        self._begun += 1
        if self._begun == self.of:
            self.swing.set()

    async def pings_while_closing(self) -> None:
        """Be refused, and ping instead of answering the close."""
        while True:
            stream = await self.connect()
            try:
                await stream.send_all(UPGRADE.format(key="wrong").encode() + PING)
                self.seen[status_of(await stream.receive_some(65536))] += 1
                for _ in range(20):
                    await stream.send_all(PING * 10)
                    await trio.lowlevel.checkpoint()
                self.begun()
                await stream.receive_some(65536)
            except BROKEN:
                self.seen["cut"] += 1
            finally:
                await trio.aclose_forcefully(stream)

    async def slow_head(self) -> None:
        await self._slowly(b"GET / HTTP/1.1\r\nX-Slow: ", b"a")

    async def slow_body(self) -> None:
        head = (
            "POST /api/notifications/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"X-API-Key: {self.key}\r\nContent-Length: 60000\r\n\r\n"
        )
        await self._slowly(head.encode(), b" ")

    async def slow_upload(self) -> None:
        head = (
            "POST /api/files/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            f"X-API-Key: {self.key}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await self._slowly(head.encode(), b"1\r\n-\r\n")

    async def slow_frame(self) -> None:
        """Bring a frame of a mebibyte byte by byte, signed in."""
        await self._slowly(UPGRADE.format(key=self.key).encode() + _text_head(1 << 20), b"a")

    async def endless_fragments(self) -> None:
        """Bring one message in fragments, far beyond a mebibyte, and then the next."""
        first = b"\x01\x80\0\0\0\0"
        while True:
            stream = await self.connect()
            try:
                await stream.send_all(UPGRADE.format(key=self.key).encode() + first)
                for _ in range(64):
                    await stream.send_all(b"\x00\xfe\x80\x00\0\0\0\0" + b"a" * 0x8000)
                    await trio.sleep(0.01)
                said = await stream.receive_some(65536)
                self.seen["1009" if b"\x03\xf1" in said else "101"] += 1
                self.begun()
            except BROKEN:
                self.seen["cut"] += 1
                self.begun()
            finally:
                await trio.aclose_forcefully(stream)

    async def half_open(self) -> None:
        """Begin a handshake and stop in the middle of its head; begin again where that is cut."""
        begun = False
        while True:
            try:
                stream = await self.connect()
            except BROKEN:
                self.seen["not let in"] += 1
                await trio.sleep(SLOW_S)
                continue
            try:
                await stream.send_all(UPGRADE[:100].encode())
                if not begun:
                    begun = True
                    self.begun()
                self.seen[status_of(await stream.receive_some(65536))] += 1
                await trio.sleep(1)
            except BROKEN:
                self.seen["cut"] += 1
            finally:
                await trio.aclose_forcefully(stream)

    async def wrong_keys(self) -> None:
        """Try keys over HTTP and WebSocket, half of them from addresses that a proxy would tell of."""
        while True:
            number = next(self._numbers)
            key = f"wrong-{number}"
            request = f"GET /api/sessions HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n"
            if number % 2:
                request += f"X-Forwarded-For: 203.0.{number // 256 % 256}.{number % 256}\r\n"
            data = f"{request}\r\n" if number % 4 < 2 else UPGRADE.format(key=key)
            stream = await self.connect()
            try:
                await stream.send_all(data.encode())
                self.seen[status_of(await stream.receive_some(65536))] += 1
                if number == 200:
                    self.swing.set()
            except BROKEN:
                self.seen["cut"] += 1
            finally:
                await trio.aclose_forcefully(stream)

    async def strangers(self) -> None:
        """Send every kind of frame without a key, each connection another kind; come again if cut."""
        number = next(self._numbers)
        name = list(EVERY_KIND)[number % len(EVERY_KIND)]
        first, then = EVERY_KIND[name]
        begun = False
        while True:
            stream = await self.connect()
            try:
                await stream.send_all(STRANGE_UPGRADE.encode())
                self.seen[status_of(await stream.receive_some(65536))] += 1
                await stream.send_all(first + then)
                self.seen[name] += 1
                if not begun:
                    begun = True
                    self.begun()
                while True:
                    await stream.send_all(then)
                    await trio.sleep(0 if len(then) > 1 else 0.001)
            except BROKEN:
                self.seen["cut"] += 1
                if not begun:
                    begun = True
                    self.begun()
                await trio.sleep(SLOW_S)
            finally:
                await trio.aclose_forcefully(stream)

    async def _slowly(self, start: bytes, then: bytes) -> None:
        """Continue byte by byte; what is still held at the end counts as `held`."""
        stream = await self.connect()
        try:
            await stream.send_all(start)
            self.seen["held"] += 1
            self.begun()
            while True:
                await stream.send_all(then)
                await trio.sleep(SLOW_S)
        except BROKEN:
            self.seen["held"] -= 1
            self.seen["cut"] += 1
            await trio.sleep_forever()
        finally:
            await trio.aclose_forcefully(stream)


ATTACKS: Final[dict[str, tuple[Callable[[Attack], Awaitable[None]], int]]] = {
    "pings while closing": (Attack.pings_while_closing, FLOOD),
    "slow heads": (Attack.slow_head, SLOW),
    "slow bodies": (Attack.slow_body, SLOW),
    "slow uploads": (Attack.slow_upload, SLOW),
    "slow frames": (Attack.slow_frame, SLOW),
    "endless fragments": (Attack.endless_fragments, FLOOD),
    "half open handshakes": (Attack.half_open, HALF_OPEN),
    "wrong keys": (Attack.wrong_keys, FLOOD),
    "every kind of frame": (Attack.strangers, STRANGERS),
}
"""By name: what each of so many tasks does."""


def status_of(answer: bytes | bytearray) -> str:
    """Return an answer's status, `end` where there was none."""
    return bytes(answer[9:12]).decode("latin-1") if answer.startswith(b"HTTP/") else "end"


def _text_head(size: int) -> bytes:
    return b"\x81\xff" + size.to_bytes(8, "big") + b"\0\0\0\0"


def take_files() -> int:
    """Have as many sockets as the system allows, as an attacker would; return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if most == resource.RLIM_INFINITY else min(most, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


async def main(name: str, port: int, key: str, files: int) -> None:
    """Attack until the input ends, with no more connections than there are files."""
    act, of = ATTACKS[name]
    of = min(of, files - 64)
    attack = Attack(port, key, of)
    async with trio.open_nursery() as nursery:
        for _ in range(of):
            nursery.start_soon(partial(act, attack))
        await attack.swing.wait()
        print("attacking", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel(reason="it is enough")
    print(json.dumps(attack.seen), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3], take_files())
