"""An open WebSocket from which is taken what only its opening needed."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio_websocket
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection

from transport.websocket.connection import lighten

LIMIT_S = 20.0


@asynccontextmanager
async def open_pair(*, queue: int = 1) -> AsyncIterator[tuple[WebSocketConnection, WebSocketConnection]]:
    """Yield our end and the device's."""
    ours, theirs = memory_stream_pair()
    made: list[WebSocketConnection] = []

    async def connect() -> None:
        made.append(await trio_websocket.wrap_client_stream(nursery, cast("Any", theirs), "localhost", "/"))

    async with trio.open_nursery() as nursery:
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as opening:
                opening.start_soon(connect)
                request = await trio_websocket.wrap_server_stream(nursery, ours, message_queue_size=queue)
                server = await request.accept()
            yield server, made[0]
        nursery.cancel_scope.cancel(reason="test done")


async def test_what_is_taken_is_there() -> None:
    """A new version of a library that holds it elsewhere makes `lighten` useless, or wrong."""
    async with open_pair() as (ours, _):
        inside: Any = ours
        assert inside._wsproto.handshake.connection is inside._wsproto.connection
        assert type(inside._wsproto.connection._events) is deque
        assert type(inside._recv_channel._state.data) is deque
        assert inside._open_handshake.is_set()
        assert type(inside._for_testing_peer_closed_connection) is trio.Event
        assert ours._recv_channel._state is ours._send_channel._state


async def test_messages_pings_and_the_end_are_as_before() -> None:
    async with open_pair() as (ours, device):
        lighten(ours)
        await device.send_message("from the device")
        assert await ours.get_message() == "from the device"
        await ours.send_message("from us")
        assert await device.get_message() == "from us"
        await ours.ping()
        await device.ping()
        await device.aclose(4000, "enough")
        with pytest.raises(ConnectionClosed) as closed:
            await ours.get_message()
        assert closed.value.reason is not None
        assert (closed.value.reason.code, closed.value.reason.reason) == (4000, "enough")


async def test_messages_that_wait_keep_their_order() -> None:
    async with open_pair(queue=4) as (ours, device):
        await device.send_message("one")
        await device.send_message("two")
        await wait_all_tasks_blocked()
        lighten(ours)  # with two in the queue already
        await device.send_message("three")
        assert [await ours.get_message() for _ in range(3)] == ["one", "two", "three"]


async def test_a_device_that_vanishes_ends_the_connection() -> None:
    async with open_pair() as (ours, device):
        lighten(ours)
        await device._stream.aclose()
        with pytest.raises(ConnectionClosed):
            await ours.get_message()
