"""A request that another machine answers: judged at both ends, without a key on the way, and bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from starlette.requests import Request
from starlette.responses import Response

from actors.errors import NodeCallRefused
from actors.nodes.mail import CallMail
from actors.nodes.node_answers import MAX_BODY_BYTES, Answers, NodeAnswers, NodeQuestion
from actors.nodes.node_calls import NodeAnswer, NodeCalls
from tests.actors.nodes.rig import Line, ids
from tests.fakes.bus import FakeServer
from tests.transport.services import LINKS, open_services
from transport.http.elsewhere import AT_ONCE, HomeRoutes
from transport.http.requests import MAX_JSON_BYTES, read_json
from transport.http.responses import HttpError, JsonAnswer, error_response
from transport.ports import Device, Nodes

FILES = "GET /api/sessions/{id}/files"
DELETE = "DELETE /api/sessions/{id}"
FORK = "POST /api/sessions/{id}/fork"
BLOB = "GET /uploads/blobs/{session}/{digest}"
SECRET = "a-key-that-must-not-travel"


@attrs.frozen
class Key:
    """A device."""

    id: str
    scope: str
    name: str = "Phone"


@attrs.define(eq=False)
class OneNode:
    """A node, as its routes need it. `known`: the devices that it knows."""

    own: str
    calls: NodeCalls
    answers: NodeAnswers
    known: dict[str, Key] = attrs.field(factory=dict)

    def open(self, node: str, name: str, fields: dict[str, Any]) -> AbstractAsyncContextManager[NodeAnswer]:
        return self.calls.open(node, name, fields)

    def serve(self, name: str, answers: Answers) -> None:
        self.answers.serve(name, answers)

    async def find_device(self, device_id: str) -> Device | None:
        await trio.lowlevel.checkpoint()
        return self.known.get(device_id)

    def has(self, node: str) -> bool:
        return node in ("a", "b")


@attrs.define(eq=False)
class World:
    """Node `b`, which a device uses, and node `a`, which is the home of `trip`.

    Attributes:
        asked: what reached the routes.
        gone: to be set when the device is gone.
    """

    there: HomeRoutes
    home: HomeRoutes
    line: Line
    nodes: tuple[OneNode, OneNode]
    asked: list[tuple[Request, Device | None, bytes]] = attrs.field(factory=list)
    gone: trio.Event = attrs.field(factory=trio.Event)

    async def route(self, request: Request, device: Device | None) -> Response:
        """Answer what came, at the home."""
        body = await request.body()
        self.asked.append((request, device, body))
        if request.query_params.get("fail"):
            raise HttpError(409, "busy", "not now")
        return JsonAnswer({"path": request.path_params, "body": len(body)}, 201)

    async def ask(
        self, action: str, device: Key | None, params: dict[str, str], query: str = "", body: bytes = b""
    ) -> tuple[int, bytes]:
        """Make a request at `b`; return status and body, zero if the device was gone before."""
        method, template = action.split(" ")
        path = template.format_map(params)
        bodies = [body]
        headers = [(b"x-api-key", SECRET.encode()), (b"authorization", SECRET.encode()), (b"host", b"b")]
        if method == "POST":
            headers.append((b"content-length", str(len(bodies[0])).encode()))
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "client": ("10.0.0.7", 1),
            "path_params": params,
        }

        async def receive() -> dict[str, Any]:
            if not bodies:
                await self.gone.wait()
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}

        got: list[Any] = []

        async def send(message: Any) -> None:
            await trio.lowlevel.checkpoint()
            got.append(message)

        answer = self.there.at_home(action, self.route)
        await (await answer(Request(scope, receive), device))(scope, receive, send)
        return got[0]["status"] if got else 0, b"".join(one.get("body", b"") for one in got[1:])


def answer_to(error: Exception) -> Response:
    if isinstance(error, HttpError):
        return error_response(error.status, error.code, str(error))
    raise error


ACTIONS: Sequence[str] = (FILES, DELETE, FORK, BLOB)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    server = FakeServer()
    stored = server.add_session("trip").stored
    stored.record = attrs.evolve(stored.record, owner="a")
    out, back = Line("b"), Line("a")
    out.see("a")
    back.see("b")
    async with open_services(folder) as services, trio.open_nursery() as nursery:
        calls, answers = NodeCalls(out, ids("key")), NodeAnswers(back, nursery)
        out.take, back.take = answers.take, lambda mail, _: calls.take(mail)
        nodes = (OneNode("b", calls, NodeAnswers(out, nursery)), OneNode("a", calls, answers))
        there, home = (HomeRoutes(server.deps(), cast("Nodes", one), services, answer_to) for one in nodes)
        world = World(there, home, out, nodes)
        for action in ACTIONS:
            home.at_home(action, world.route)
        home.serve()
        yield world
        nursery.cancel_scope.cancel()


async def test_a_request_arrives_as_it_was_without_its_key(tmp_path: Path) -> None:
    phone = Key("phone", "admin")
    async with opened(tmp_path) as world:
        world.nodes[1].known["phone"] = phone
        status, body = await world.ask(FORK, phone, {"id": "trip"}, query="x=%C3%A4&y=1", body=b'{"a":1}')
        assert (status, body) == (201, b'{"path":{"id":"trip"},"body":7}')
        [(request, device, came)] = world.asked
        assert (device, came) == (phone, b'{"a":1}')
        assert dict(request.query_params) == {"x": "ä", "y": "1"}
        assert request.scope["client"][0] == "10.0.0.7"
        assert request.scope["builderos.sent_by"] == "b"
        [call] = [one for one in world.line.sent if isinstance(one, CallMail)]
        assert SECRET not in repr(call)


async def test_an_error_of_the_route_comes_back(tmp_path: Path) -> None:
    phone = Key("phone", "admin")
    async with opened(tmp_path) as world:
        world.nodes[1].known["phone"] = phone
        status, body = await world.ask(FILES, phone, {"id": "trip"}, query="fail=1")
        assert (status, body) == (409, b'{"error":{"code":"busy","message":"not now"}}')


@pytest.mark.parametrize(
    ("known", "action", "status"),
    [
        (Key("phone", "view"), DELETE, 403),
        (Key("phone", "view"), FILES, 403),
        (Key("phone", "drive"), DELETE, 403),
        (None, FILES, 401),
        (Key("phone", "drive"), FILES, 201),
    ],
)
async def test_the_home_judges_a_key_by_itself(
    known: Key | None, action: str, status: int, tmp_path: Path
) -> None:
    """Whatever the other machine thinks that a key may do."""
    async with opened(tmp_path) as world:
        if known is not None:
            world.nodes[1].known["phone"] = known
        found, _ = await world.ask(action, Key("phone", "admin"), {"id": "trip"})
        assert found == status
        assert len(world.asked) == (1 if status == 201 else 0)


DIGEST = "d" * 64
SIGNED = LINKS.sign(f"/uploads/blobs/trip/{DIGEST}").partition("?")[2]


@pytest.mark.parametrize(
    ("action", "params", "query", "status"),
    [
        (BLOB, {"session": "trip", "digest": DIGEST}, SIGNED, 201),
        (BLOB, {"session": "trip", "digest": DIGEST}, "", 401),
        (BLOB, {"session": "trip", "digest": "e" * 64}, SIGNED, 401),
        (DELETE, {"id": "trip"}, LINKS.sign("/api/sessions/trip").partition("?")[2], 401),
        (FILES, {"id": "trip"}, LINKS.sign("/api/sessions/trip/files").partition("?")[2], 401),
    ],
)
async def test_a_signature_opens_one_file_and_nothing_else(
    action: str, params: dict[str, str], query: str, status: int, tmp_path: Path
) -> None:
    async with opened(tmp_path) as world:
        assert (await world.ask(action, None, params, query=query))[0] == status


async def test_a_path_and_what_it_is_said_to_name_must_agree(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        fields: dict[str, Any] = {
            "action": BLOB,
            "method": "GET",
            "path": f"/uploads/blobs/trip/{DIGEST}",
            "params": {"session": "other", "digest": DIGEST},
            "query": SIGNED,
            "headers": [],
            "scheme": "http",
            "address": "10.0.0.7",
            "device": None,
            "body": "",
        }
        async with world.nodes[0].open("a", "http", fields) as answer:
            assert answer.head["status"] == 401
        for name, wrong in (
            ("action", "GET /etc"),
            ("params", {"session": 1}),
            ("headers", [["a"]]),
            ("headers", 7),
            ("body", "%%"),
            ("query", None),
            ("more", 1),
        ):
            with pytest.raises(NodeCallRefused, match="another version"):
                async with world.nodes[0].open("a", "http", {**fields, name: wrong}):
                    pass
        assert world.asked == []


async def test_what_is_too_much_is_refused(tmp_path: Path) -> None:
    phone = Key("phone", "admin")
    async with opened(tmp_path) as world:
        world.nodes[1].known["phone"] = phone

        async def huge(_: Request, __: Device | None) -> Response:
            return Response(headers={"Content-Length": str(MAX_BODY_BYTES + 1)})

        world.home.at_home(FILES, huge)
        with pytest.raises(NodeCallRefused, match=r"at most 100 MB.*\(a\)") as caught:
            await world.ask(FILES, phone, {"id": "trip"})
        assert caught.value.code == "too_large"
        with pytest.raises(HttpError) as refused:
            await world.ask(FORK, phone, {"id": "trip"}, body=bytes(MAX_JSON_BYTES + 1))
        assert refused.value.status == 413

        async def never(_: Request, __: Device | None) -> Response:
            await trio.sleep_forever()

        world.home.at_home(FILES, never)
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(world.ask, FILES, phone, {"id": "trip"})
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(NodeCallRefused, match="Too many requests"):
                await world.ask(FILES, phone, {"id": "trip"})
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"status": "x", "headers": []},
        {"status": 100, "headers": []},
        {"status": 200, "headers": [["a", "b\r\nSet-Cookie: x"]]},
        {"status": 200, "headers": [["a"]]},
    ],
)
async def test_an_answer_that_cannot_be_read_is_none(head: dict[str, Any], tmp_path: Path) -> None:
    async with opened(tmp_path) as world:

        async def strange(question: NodeQuestion) -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            return head

        world.nodes[1].serve("http", strange)
        with pytest.raises(NodeCallRefused, match="cannot be read"):
            await world.ask(FILES, Key("phone", "admin"), {"id": "trip"})


async def test_a_device_that_is_gone_ends_the_work_at_the_home(tmp_path: Path) -> None:
    """And a route that waits for that end does not turn round and round meanwhile."""
    phone = Key("phone", "admin")
    async with opened(tmp_path) as world:
        world.nodes[1].known["phone"] = phone
        ended = trio.Event()

        async def waits(request: Request, _: Device | None) -> Response:
            assert (await read_json(request)).text("a", 9) == "b"
            try:
                await request.receive()
            finally:
                ended.set()
            raise AssertionError("it received more")

        world.home.at_home(FORK, waits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ask, FORK, phone, {"id": "trip"}, "", b'{"a":"b"}')
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert not ended.is_set()
            world.gone.set()
        with trio.fail_after(5):
            await ended.wait()
