"""Routes that one machine must answer: that of a session, or one that the query names. Loaded only with `--node`.

The machine that a device uses checks its key and scope, and sends the request on as a node call. The other machine
judges the scope again, by its own view of the keys, and runs the same route (`sent_on.py`).
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.errors import ActorError, NodeCallRefused, UnknownNode
from storage.errors import StorageError
from transport.http.requests import MAX_JSON_BYTES, check_length, over_json, read_body, wait_left
from transport.http.responses import HttpError, query_of
from transport.http.routes.files import has_blob
from transport.http.sent_on import CALL, HAS_BLOB, Route, SentOn, SentOnRequests
from transport.http.services import HttpServices
from transport.ports import Deps, Device, Nodes
from transport.v3.decode import is_id

__all__ = ["HomeRoutes"]

AT_ONCE: Final = 8
"""Requests of one device that are with other machines at once."""

_SENT_ON: Final = frozenset({b"content-type", b"content-length", b"host", b"range", b"if-range"})
"""Headers that a route may read. No key is among them."""


@attrs.define(eq=False)
class HomeRoutes:
    """The routes, by their actions.

    Attributes:
        services: has the links that open files without a key.
        answer_to: returns the response for an error.
    """

    deps: Deps
    nodes: Nodes
    services: HttpServices
    answer_to: Callable[[Exception], Response]
    _routes: dict[str, Route] = attrs.field(factory=dict, init=False)
    _running: Counter[str] = attrs.field(factory=Counter, init=False)

    def serve(self) -> None:
        """Answer what other machines send on, from now on."""
        SentOnRequests(self.deps, self.nodes, self.services, self.answer_to, self._routes).serve()

    def at_home(self, action: str, route: Route) -> Route:
        """Return a route that the home of the session in its path answers."""
        self._routes[action] = route
        return partial(self._answer_there, action, route, self._home_of)

    def at_node(self, action: str, route: Route) -> Route:
        """Return a route that the node answers which its query names by `node`; without that, this one."""
        self._routes[action] = route
        return partial(self._answer_there, action, route, self._named_node)

    def at_first(self, action: str, route: Route) -> Route:
        """Return a route that the node answers which sends notifications; without one, this one."""
        self._routes[action] = route
        return partial(self._answer_there, action, route, self._first_node)

    async def _answer_there(
        self,
        action: str,
        route: Route,
        target: Callable[[Request], Awaitable[str | None]],
        request: Request,
        device: Device | None,
    ) -> Response:
        node = await target(request)
        if node is None or node == self.nodes.own:
            return await route(request, device)
        return await self.send_on(node, action, request, device)

    def at_blob(self, action: str, route: Route) -> Route:
        """Return a route that the node answers which has the blob in its path: the session's home, or an earlier one."""
        self._routes[action] = route
        return partial(self._answer_there, action, route, self._blob_of)

    async def _blob_of(self, request: Request) -> str | None:
        """Return the node that has a blob; the home if none has it, or if the home cannot be asked."""
        home = await self._home_of(request)
        if home is None:
            return None
        session_id, digest = request.path_params["session"], request.path_params["digest"]
        for node in (home, *(one for one in self.nodes.living() if one != home)):
            try:
                if await self._has_blob(node, session_id, digest):
                    return node
            except (ActorError, StorageError):
                if node == home:
                    break
        return home

    async def _has_blob(self, node: str, session_id: str, digest: str) -> bool:
        if node == self.nodes.own:
            return await has_blob(self.services.data, session_id, digest)
        answer = await self.nodes.ask(node, HAS_BLOB, {"session": session_id, "digest": digest})
        return answer.get("has") is True

    def at_keeper(self, action: str, route: Route) -> Route:
        """Return a route that the node answers which has the upload in its path."""
        self._routes[action] = route
        return partial(self._answer_there, action, route, self._keeper_of)

    async def _keeper_of(self, request: Request) -> str | None:
        stored, name = self.services.uploads.stored, request.path_params["name"]
        return None if await stored.find(name) is not None else await stored.owner_of(name)

    async def _home_of(self, request: Request) -> str | None:
        session_id = request.path_params.get("id") or request.path_params.get("session")
        record = await self.deps.catalog.get(session_id) if session_id and is_id(session_id) else None
        return None if record is None else record.owner

    async def _named_node(self, request: Request) -> str | None:
        (name,) = query_of(request, "node")
        if name is not None and not self.nodes.has(name):
            raise HttpError(404, "unknown_node", f"node: {UnknownNode(name)}")
        return name

    async def _first_node(self, _: Request) -> str | None:
        return self.nodes.first()

    async def send_on(self, node: str, action: str, request: Request, device: Device | None) -> Response:
        """Return the answer of another machine; it is asked once the response begins. Raises HttpError."""
        body = await _body_of(request)
        asked = SentOn(
            action=action,
            method=request.method,
            path=unquote(request.scope["raw_path"].decode("latin-1")),
            params=dict(request.path_params),
            query=request.scope["query_string"].decode("latin-1"),
            headers=[
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in request.scope["headers"]
                if name in _SENT_ON
            ],
            scheme=request.scope["scheme"],
            address=request.scope["client"][0],
            device=None if device is None else device.id,
            body=base64.b64encode(body).decode(),
        )
        return _Relayed(self, node, asked)

    async def relay(self, node: str, asked: SentOn, send: Send) -> None:
        """Send what another machine answers. Raises as `Nodes.open`; what was sent by then is not whole."""
        who = asked.device or ""
        if self._running[who] >= AT_ONCE:
            raise NodeCallRefused(
                "busy", "Too many requests to other machines at once. Try again in a moment."
            )
        self._running[who] += 1
        try:
            async with self.nodes.open(node, CALL, attrs.asdict(asked)) as answer:
                await send({"type": "http.response.start", **_start_of(answer.head)})
                while (part := await answer.part()) is not None:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]


class _Relayed(Response):
    """The answer of another machine, as it comes."""

    def __init__(self, routes: HomeRoutes, node: str, asked: SentOn) -> None:
        super().__init__()
        self._relay = partial(routes.relay, node, asked)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            try:
                await self._relay(send)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel(reason="answered")
        if failure is not None:
            raise failure


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    """End a call whose device is gone."""
    await wait_left(receive)
    scope.cancel(reason="the device is gone")


async def _body_of(request: Request) -> bytes:
    """Return the body of a request that changes something. Raises HttpError."""
    if request.method != "POST":
        return b""
    too_large = over_json()
    if request.headers.get("content-length") is not None:
        check_length(request, MAX_JSON_BYTES, too_large)
    return await read_body(request, MAX_JSON_BYTES, too_large)


def _start_of(head: dict[str, Any]) -> dict[str, Any]:
    """Return the start of a response, as another machine gave it. Raises NodeCallRefused."""
    try:
        status = int(head["status"])
        headers = [(str(name), str(value)) for name, value in head["headers"]]
        if not 200 <= status <= 599 or any(
            sign in text for pair in headers for text in pair for sign in "\r\n\0"
        ):
            raise ValueError
        return {"status": status, "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]}
    except (KeyError, TypeError, ValueError) as error:
        raise NodeCallRefused("internal", "The other machine's answer cannot be read.") from error
