"""Direct answers to a device: never with `seq` if it is not an answer to a send, and never too large."""

from __future__ import annotations

import attrs
import orjson

from actors.events.permissions import PermissionRequested
from actors.events.session import SessionGrant, Settings
from actors.replies import IfHead, QueuedMessage, Rejected, SessionView
from actors.tail import AttachedDevice, Presence
from transport.v3 import replies
from transport.websocket.frames import MAX_FRAME_BYTES


def view(queue: int, pending: int, size: int) -> SessionView:
    return SessionView(
        epoch=1,
        head_seq=9,
        agent_type="echo",
        title="T",
        state="waiting",
        settings=Settings("/w"),
        queue=tuple(QueuedMessage(f"m{n}", "ipad", "\x01" * min(size, 1000)) for n in range(queue)),
        pending=tuple(
            PermissionRequested(f"r{n}", "Bash", {"c": "\x01" * size}, ("allow",)) for n in range(pending)
        ),
        read_seq=3,
        draft="d",
    )


def test_attached_tells_all_where_it_fits() -> None:
    told = replies.Attached("trip", view(2, 1, 10), 5, "ok", (AttachedDevice("ipad", "iPad", observe=False),))
    body = orjson.loads(replies.attached(told, 0))
    assert body["queue"][0] == {"message_id": "m0", "content": "\x01" * 10, "device_id": "ipad"}
    assert body["pending"][0]["input"] == {"c": "\x01" * 10}
    assert body["pending"][0]["request_id"] == "r0"
    assert "cut" not in body["pending"][0]
    assert body["devices"] == [{"device_id": "ipad", "name": "iPad", "observe": False}]
    assert (body["from_seq"], body["replay"], body["draft"], body["read_seq"]) == (5, "ok", "d", 3)


def test_attached_is_cut_to_fit() -> None:
    told = replies.Attached("trip", view(100, 50, 60_000), 5, "ok", ())
    text = replies.attached(told, 0)
    assert len(text) <= MAX_FRAME_BYTES
    body = orjson.loads(text)
    assert len(body["queue"]) == 100
    assert [each["request_id"] for each in body["pending"]] == [f"r{n}" for n in range(50)]
    assert all(each["cut"] is True for each in body["pending"]), "nobody may allow what is not told whole"


def test_attached_fits_whatever_the_session_has_come_to() -> None:
    """The worst of everything: each bound of what a session keeps, in letters that take six bytes."""
    long = "\x01" * 256
    worst = attrs.evolve(
        view(100, 64, 130_000),
        pending=tuple(
            PermissionRequested(long + str(n), long, {"c": "\x01" * 130_000}, (long,) * 16, [long] * 99)
            for n in range(64)
        ),
        draft="\x01" * (256 * 1024 // 6),
        title="\x01" * 500,
        grants=tuple(SessionGrant(str(n) + "\x01" * 1990, "ipad", 1) for n in range(200)),
    )
    devices = tuple(AttachedDevice(f"{n:0128}", "\x01" * 100, observe=False) for n in range(5000))
    text = replies.attached(replies.Attached("trip", worst, 5, "ok", devices), 0)
    assert len(text) <= MAX_FRAME_BYTES
    body = orjson.loads(text)
    assert (len(body["queue"]), len(body["pending"]), len(body["grants"])) == (100, 64, 200)
    assert body["device_count"] == 5000


def test_presence_names_only_so_many() -> None:
    devices = tuple(AttachedDevice(f"{n:0128}", "\x01" * 100, observe=False) for n in range(5000))
    told = replies.news("trip", Presence(devices), "me", 0)
    assert told is not None
    assert len(told) <= MAX_FRAME_BYTES
    body = orjson.loads(told)
    assert len(body["devices"]) == replies.SHOWN_DEVICES
    assert body["device_count"] == 5000
    few = replies.news("trip", Presence(devices[:2]), "me", 0)
    assert few is not None
    assert "device_count" not in orjson.loads(few)


def test_rejected_names_what_it_answers() -> None:
    reply = Rejected("stale_head", "no", message_id="m", head=IfHead(1, 9))
    body = orjson.loads(replies.rejected("trip", reply, 0))
    assert (body["message_id"], body["head"]) == ("m", {"epoch": 1, "seq": 9})
    assert "request_id" not in body
    late = Rejected("already_resolved", "no", request_id="r", by_device="mac")
    body = orjson.loads(replies.rejected("trip", late, 0))
    assert (body["request_id"], body["by_device"]) == ("r", "mac")


def test_very_many_sessions_make_several_heartbeats() -> None:
    heads = {"s" * 120 + str(number): (1, 2**60) for number in range(2500)}
    texts = replies.heartbeats(heads, 0)
    assert all(len(text) <= MAX_FRAME_BYTES for text in texts)
    told: dict[str, object] = {}
    for text in texts:
        told |= orjson.loads(text)["sessions"]
    assert told == {name: {"epoch": 1, "head_seq": 2**60} for name in heads}
