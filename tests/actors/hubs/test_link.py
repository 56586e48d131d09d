"""The server's end of a link, against a hub that is a script of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.errors import HubLost, HubProtocolError
from actors.hubs.link import RECEIVE_LINES, SocketHubLink, open_link
from bridgehub.protocol.codec import encode, encode_reported
from bridgehub.protocol.events import Consumed, Noticed
from bridgehub.protocol.messages import VERSION, Hello, Welcome


def events(count: int) -> bytes:
    return b"".join(encode_reported(seq, seq, Noticed("t1", "n", str(seq))) for seq in range(1, count + 1))


@asynccontextmanager
async def open_scripted(
    folder: Path, data: bytes, *, hub_id: str | None = None, version: int = VERSION
) -> AsyncIterator[SocketHubLink]:
    """Give a link to the hub `hub1` that welcomes, writes `data` and closes. `hub_id`: whom we look for."""
    path = str(folder / "s")
    welcome = encode(Welcome(version, "hub1", 1, None, running=False, waiting=()))
    raw = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await raw.bind(path)
    raw.listen(1)

    async def live(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(welcome + data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, live, [trio.SocketListener(raw)])  # noqa: ASYNC113 - the socket listens already
        with trio.fail_after(40):
            link = await open_link(path, Hello(VERSION, "trip", 1, 0), hub_id=hub_id)
            try:
                yield link
            finally:
                await link.aclose()
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_many_small_lines_come_in_parts_in_order_and_whole(tmp_path: Path) -> None:
    count = 20 * RECEIVE_LINES + 7
    async with open_scripted(tmp_path, events(count)) as link:
        found: list[int] = []
        while len(found) < count:
            with trio.CancelScope() as scope:
                scope.cancel(reason="it must lose nothing")
                found += [item.seq for item in await link.receive()]
            batch = await link.receive()
            assert len(batch) <= RECEIVE_LINES
            found += [item.seq for item in batch]
        assert found == list(range(1, count + 1))
        with pytest.raises(HubLost):
            await link.receive()


async def test_garbage_among_many_lines_comes_after_what_was_before_it(tmp_path: Path) -> None:
    count = RECEIVE_LINES + 3
    later = encode_reported(count + 1, count + 1, Consumed("t1")) * RECEIVE_LINES
    async with open_scripted(tmp_path, events(count) + b"nonsense\n" + later) as link:
        found: list[int] = []
        while len(found) < count:
            found += [item.seq for item in await link.receive()]
        with pytest.raises(HubProtocolError):
            await link.receive()
        assert found == list(range(1, count + 1))


async def test_a_hub_that_is_another_one_is_not_taken_over(tmp_path: Path) -> None:
    with pytest.RaisesGroup(HubProtocolError, flatten_subgroups=True):
        async with open_scripted(tmp_path, events(1), hub_id="hub2"):
            pass


async def test_a_hub_of_another_version_is_not_taken_over(tmp_path: Path) -> None:
    with pytest.RaisesGroup(HubProtocolError, flatten_subgroups=True):
        async with open_scripted(tmp_path, events(1), hub_id="hub1", version=VERSION + 1):
            pass
