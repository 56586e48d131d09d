"""Requests that another machine sent on: judged again, and answered by the same routes. Loaded only with `--node`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Scope

from actors.errors import NodeCallRefused
from transport.access.auth import authorize
from transport.access.signed_urls import UPLOADS_PATH
from transport.http.responses import HttpError
from transport.http.routes.files import has_blob
from transport.http.services import HttpServices
from transport.ports import Deps, Device, Nodes

if TYPE_CHECKING:
    from actors.nodes.node_answers import NodeQuestion

__all__ = ["CALL", "HAS_BLOB", "Route", "SentOn", "SentOnRequests"]

CALL: Final = "http"
"""The name of the node call."""

HAS_BLOB: Final = "has_blob"
"""The name of the node call that asks whether a machine has a blob."""

Route = Callable[[Request, Any], Awaitable[Response]]


@attrs.frozen
class SentOn:
    """A request on its way to the machine that answers it.

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
    def read(cls, fields: dict[str, Any]) -> SentOn:
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


@attrs.frozen
class SentOnRequests:
    """The end of the machine that answers.

    Attributes:
        services: has the links that open files without a key.
        answer_to: returns the response for an error.
        routes: by their actions; they may grow.
    """

    deps: Deps
    nodes: Nodes
    services: HttpServices
    answer_to: Callable[[Exception], Response]
    routes: Mapping[str, Route]

    def serve(self) -> None:
        """Answer from now on."""
        self.nodes.serve(CALL, self._answer)
        self.nodes.serve(HAS_BLOB, self._answer_has)

    async def _answer_has(self, question: NodeQuestion) -> dict[str, Any]:
        session_id, digest = (str(question.fields.get(name)) for name in ("session", "digest"))
        return {"has": await has_blob(self.services.data, session_id, digest)}

    async def _answer(self, question: NodeQuestion) -> None:
        asked = SentOn.read(question.fields)
        route, scope = self.routes.get(asked.action), asked.scope(question.node)
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

    async def _judge(self, asked: SentOn) -> Device | None:
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

    def _is_signed(self, asked: SentOn) -> bool:
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
