"""One WebSocket connection over fakes, on a real socket, with a client that shares no code with us."""

from __future__ import annotations

from tests.fakes.bus import accept
from tests.transport.client import open_server


async def test_signs_in_by_header_and_by_first_frame() -> None:
    async with open_server() as served:
        async with served.client(None) as one:
            await one.send(type="auth", token="key-of-phone")
            ready = await one.receive()
        assert ready["type"] == "ready"
        assert ready["protocol"] == 3
        assert ready["device"] == {"id": "phone", "name": "Phone", "scope": "admin"}


async def test_send_is_accepted_before_its_events() -> None:
    async with open_server() as served:
        served.fakes.on_command = accept
        async with served.client() as one:
            attached = await one.attach("trip", agent="echo")
            assert attached["head_seq"] == 0
            assert attached["from_seq"] == 1
            await one.send(type="send", session_id="trip", message_id="m1", content="hi")
            frames = [await one.receive() for _ in range(4)]
    assert [frame["type"] for frame in frames] == ["accepted", "user_message", "turn_started", "delivery"]
    assert frames[0]["seq"] == frames[1]["seq"] == 1
