"""What is counted of each device: delays, what waits, joined pieces, connections, and its own reports."""

from __future__ import annotations

from pathlib import Path

import httpx
import trio

from actors.events.conversation import Complete, Message, TurnStarted
from tests.transport.client import Client, Served, open_server
from tests.transport.services import open_services
from transport.delays import MAX_LABELS, MAX_LABELS_OF_A_KEY, DeviceDelays, DeviceRecord


class Writer:
    """A connection on which some bytes wait."""

    def __init__(self, waiting_bytes: int = 0) -> None:
        self.waiting_bytes = waiting_bytes


def record_of(served: Served, label: str) -> DeviceRecord:
    return next(one for one in served.fakes.delays if one.label == label)


async def pong(client: Client) -> None:
    """Wait until the server has taken all that was sent, and has noted its last write."""
    for _ in range(2):
        await client.send(type="ping")
        assert (await client.receive("pong", "error", "rejected"))["type"] == "pong"


async def test_a_write_counts_and_the_past_does_not() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        session.publish(TurnStarted("m"), Message("a", "b", 0), Message("b", "b", 1))
        await one.attach("trip", device_id="ipad")
        await one.receive("message")
        await pong(one)
        ipad = record_of(served, "ipad")
        assert (ipad.write_s.count, ipad.joined) == (0, 0)
        session.publish(
            Message("c", "b", 2), Message("d", "b", 3), Message("e", "b", 4), Complete(2, 5, "00")
        )
        await one.receive("complete")
        await pong(one)
        assert ipad.write_s.count == 1
        assert 0 <= ipad.write_s.recent[0] < 40
        assert ipad.joined == 2
        assert (ipad.reconnects, len(ipad.connections)) == (0, 1)


async def test_a_new_connection_is_a_reconnect() -> None:
    async with open_server() as served:
        served.fakes.add_session("trip")
        served.fakes.add_session("cake")
        for _ in range(2):
            async with served.client() as one:
                await one.attach("trip", device_id="ipad")
                await one.attach("cake", device_id="ipad")
                assert len(record_of(served, "ipad").connections) == 1
            with trio.fail_after(20):  # noqa: ASYNC912 - waits, or has it
                while record_of(served, "ipad").connections:
                    await trio.lowlevel.checkpoint()
        assert record_of(served, "ipad").reconnects == 1


async def test_reports_count_if_they_can_be_true() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        session.publish(Message("a", "b", 0))
        await one.attach("trip", device_id="ipad")
        ipad = record_of(served, "ipad")
        await one.send(type="painted", session_id="trip", seq=99, ms=5)
        await pong(one)
        assert ipad.paint_s.count == 0, "an event that there is not"
        for wrong in ({"ms": -1}, {"ms": 3_600_001}, {"ms": 1.5}, {"ms": "5"}, {"seq": 0}, {"seq": 2**63}):
            await one.send(**{"type": "painted", "session_id": "trip", "seq": 1, "ms": 5, **wrong})
            assert (await one.receive("error"))["code"] == "bad_frame"
        for _ in range(3):
            await one.send(type="painted", session_id="trip", seq=1, ms=250)
        await pong(one)
        assert list(ipad.paint_s.recent) == [0.25], "one in two seconds counts"
        await one.send(type="painted", session_id="elsewhere", seq=1, ms=5)
        assert (await one.receive("rejected"))["code"] == "not_attached"


async def test_metrics_and_the_list_show_each_label(tmp_path: Path) -> None:
    async with open_services(tmp_path) as services, open_server(services) as served:
        headers = {"X-API-Key": "key-of-phone"}
        async with served.client() as one, httpx.AsyncClient(base_url=served.base, headers=headers) as http:
            session = served.fakes.add_session("trip")
            await one.attach("trip", device_id="ipad")
            session.publish(Message("a", "b", 0), Complete(2, 1, "00"))
            await one.receive("complete")
            await one.send(type="painted", session_id="trip", seq=2, ms=20)
            await pong(one)
            lines = (await http.get("/metrics")).text.splitlines()
            for line in (
                'builderos_device_write_seconds_count{device="ipad"} 1.0',
                'builderos_device_write_seconds_bucket{device="ipad",le="+Inf"} 1.0',
                'builderos_device_paint_seconds_bucket{device="ipad",le="0.025"} 1.0',
                'builderos_device_paint_seconds_bucket{device="ipad",le="0.01"} 0.0',
                'builderos_device_joined_pieces_total{device="ipad"} 0.0',
                'builderos_device_reconnects_total{device="ipad"} 0.0',
            ):
                assert line in lines, line
            (ipad,) = (await http.get("/api/delays")).json()["devices"]
            assert ipad["painted"] == {"count": 1, "p50_ms": 20.0, "p95_ms": 20.0}
            assert (ipad["device_id"], ipad["key"], ipad["connections"]) == ("ipad", "phone", 1)


async def test_what_the_socket_does_not_take_waits() -> None:
    async with open_server() as served:
        session = served.fakes.add_session("trip")
        peer = await served.raw(small_buffer=True)
        await peer.upgrade()
        attach = '{"type":"attach","session_id":"trip","device_id":"ipad"}'
        await peer.stream.send_all(peer.frames.send_data(attach))
        with trio.fail_after(20):  # noqa: ASYNC912 - waits, or has it
            while not any(one.label == "ipad" and one.connections for one in served.fakes.delays):
                await trio.lowlevel.checkpoint()
        for number in range(64):
            session.publish(Message("x" * 100_000, f"b{number}", 0))
        with trio.fail_after(20):  # noqa: ASYNC912 - waits, or has it
            while not record_of(served, "ipad").waiting_bytes:
                await trio.lowlevel.checkpoint()


def test_the_number_of_labels_has_a_bound() -> None:
    delays, writer = DeviceDelays(), Writer(7)
    first = delays.of("phone", "Phone", "first")
    first.enter(writer)
    for number in range(1000):
        delays.of("phone", "Phone", f"label-{number}")
    assert len(list(delays)) == MAX_LABELS_OF_A_KEY
    assert delays.of("phone", "Phone", "first") is first, "what is connected stays"
    for number in range(1000):
        delays.of(f"key-{number}", "Other", f"other-{number}").enter(writer)
    assert len(list(delays)) == MAX_LABELS
    assert first in list(delays)
    late = delays.of("late", "Late", "late")
    late.enter(writer)
    assert late not in list(delays), "nobody has left"
    first.leave(writer)
    assert delays.of("late", "Late", "late") in list(delays)
    assert first not in list(delays)
