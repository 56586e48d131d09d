"""Routes that one machine must answer: that of a session, or one that the query names. Loaded only with `--node`.

The machine that a device uses checks its key and scope, and sends the request on as a node call. The other machine
judges the scope again, by its own view of the keys, and runs the same route.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from actors.errors import ActorError, NodeCallRefused, UnknownNode
from storage.errors import StorageError
from transport.access.auth import authorize
from transport.access.signed_urls import UPLOADS_PATH
from transport.http.requests import MAX_JSON_BYTES, check_length, over_json, read_body, wait_left
from transport.http.responses import HttpError, query_of
from transport.http.routes.files import has_blob
from transport.http.services import HttpServices
from transport.ports import Deps, Device, Nodes
from transport.v3.decode import is_id

if TYPE_CHECKING:
    from actors.nodes.node_answers import NodeQuestion

__all__ = ["HomeRoutes"]

CALL: Final = "http"
"""The name of the node call."""

HAS_BLOB: Final = "has_blob"
"""The name of the node call that asks whether a machine has a blob."""

AT_ONCE: Final = 8
"""Requests of one device that are with other machines at once."""

_SENT_ON: Final = frozenset({b"content-type", b"content-length", b"host", b"range", b"if-range"})
"""Headers that a route may read. No key is among them."""

Route = Callable[[Request, Any], Awaitable[Response]]


@attrs.frozen
class _Asked:
    """A request that another machine sent on.

    Attributes:
        path: as the device named it, which is what a signature is for.
        device: its id; None for a signed address.
        body: in base64.
    """

    action: str
    method: str
    path: str
    params: dict[str, str]
    query: str
    headers: list[list[str]]
    scheme: str
    address: str
    device: str | None
    body: str

    @classmethod
    def read(cls, fields: dict[str, Any]) -> _Asked:
        """Return the request. Raises NodeCallRefused."""
        try:
            made = cls(**fields)
            texts = [made.action, made.method, made.path, made.query, made.scheme, made.address, made.body]
            pairs = [*made.params.items(), *((name, value) for name, value in made.headers)]
            if not all(isinstance(one, str) for one in (*texts, *(one for pair in pairs for one in pair))):
                raise TypeError
            base64.b64decode(made.body, validate=True)
        except (TypeError, AttributeError, ValueError, binascii.Error) as error:
            raise NodeCallRefused("unavailable", "The other machine has another version.") from error
        return made

    def scope(self, node: str) -> Scope:
        """Return the request as routes read it. `node`: which sent it on."""
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "path_params": self.params,
            "query_string": self.query.encode("latin-1", "replace"),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers],
            "client": (self.address, 0),
            "server": None,
            "extensions": {},
            "builderos.sent_by": node,
        }


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
        self.nodes.serve(CALL, self._answer)
        self.nodes.serve(HAS_BLOB, self._answer_has)

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

    async def _answer_has(self, question: NodeQuestion) -> dict[str, Any]:
        session_id, digest = (str(question.fields.get(name)) for name in ("session", "digest"))
        return {"has": await has_blob(self.services.data, session_id, digest)}

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

    # ---- at the machine that the device uses ----

    async def send_on(self, node: str, action: str, request: Request, device: Device | None) -> Response:
        """Return the answer of another machine; it is asked once the response begins. Raises HttpError."""
        body = await _body_of(request)
        fields = {
            "action": action,
            "method": request.method,
            "path": unquote(request.scope["raw_path"].decode("latin-1")),
            "params": dict(request.path_params),
            "query": request.scope["query_string"].decode("latin-1"),
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in request.scope["headers"]
                if name in _SENT_ON
            ],
            "scheme": request.scope["scheme"],
            "address": request.scope["client"][0],
            "device": None if device is None else device.id,
            "body": base64.b64encode(body).decode(),
        }
        return _SentOn(self, node, fields)

    async def relay(self, node: str, fields: dict[str, Any], send: Send) -> None:
        """Send what another machine answers. Raises as `Nodes.open`; what was sent by then is not whole."""
        who = fields["device"] or ""
        if self._running[who] >= AT_ONCE:
            raise NodeCallRefused(
                "busy", "Too many requests to other machines at once. Try again in a moment."
            )
        self._running[who] += 1
        try:
            async with self.nodes.open(node, CALL, fields) as answer:
                await send({"type": "http.response.start", **_start_of(answer.head)})
                while (part := await answer.part()) is not None:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]

    # ---- at the machine that answers ----

    async def _answer(self, question: NodeQuestion) -> None:
        asked = _Asked.read(question.fields)
        route, scope = self._routes.get(asked.action), asked.scope(question.node)
        if route is None:
            raise NodeCallRefused("unavailable", "The other machine has another version.")

        bodies = [base64.b64decode(asked.body)]

        async def receive() -> Message:
            if not bodies:
                await trio.sleep_forever()  # the end of the device ends the call
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._begin(question, message)
            elif message["type"] == "http.response.body":
                await question.write(message.get("body", b""))

        try:
            response = await route(Request(scope, receive), await self._judge(asked))
        except Exception as error:
            response = self.answer_to(error)
        await response(scope, receive, send)

    async def _judge(self, asked: _Asked) -> Device | None:
        """Return the device that asks. Raises HttpError if it may not."""
        if asked.device is None:
            if not self._is_signed(asked):
                raise HttpError(401, "unauthorized", "A valid key is needed.")
            return None
        device = await self.nodes.find_device(asked.device)
        if device is None:
            raise HttpError(401, "unauthorized", "A valid key is needed.")
        if not authorize(device.scope, asked.action):
            raise HttpError(403, "forbidden", "This key may not do that.")
        return device

    def _is_signed(self, asked: _Asked) -> bool:
        """Return whether the address opens just this file."""
        method, template = asked.action.split(" ")
        wanted = template.format_map(asked.params)
        return (
            method == "GET"
            and wanted.startswith(UPLOADS_PATH)
            and self.deps.aliases.path(asked.path) == wanted
            and self.services.uploads.links.opens(asked.path, asked.query)
        )

    def _begin(self, question: NodeQuestion, start: Message) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        length = next((value for name, value in headers if name.lower() == "content-length"), "0")
        if int(length) > question.most_bytes:
            raise NodeCallRefused(
                "too_large",
                f"A machine sends another one at most {question.most_bytes // 1_000_000} MB."
                f" Connect to the session's machine ({self.nodes.own}).",
            )
        question.begin({"status": start["status"], "headers": headers})


class _SentOn(Response):
    """The answer of another machine, as it comes."""

    def __init__(self, routes: HomeRoutes, node: str, fields: dict[str, Any]) -> None:
        super().__init__()
        self._relay = partial(routes.relay, node, fields)

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
