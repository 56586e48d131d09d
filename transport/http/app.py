"""The HTTP application: routes, wrapped in authentication, scopes and the form of errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import attrs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.errors import ActorError, MachineAway, NodeCallRefused, UnknownNode
from storage.errors import StorageError
from storage.tables.pairings import Pairing
from transport.access.auth import authorize
from transport.access.proxies import Forwarded, Proxies
from transport.access.signed_urls import ACT_PATH
from transport.access.signin import SignIns
from transport.config import TransportConfig
from transport.http.middleware import CODE_PATH, OPEN_PATHS, AliasedPaths, DrainRequestBody, Keys, SafeHeaders
from transport.http.responses import HttpError, error_response, query_of
from transport.http.routes.capsules import list_capsules
from transport.http.routes.changes import list_changes
from transport.http.routes.delays import DelayRoutes
from transport.http.routes.desk import DeskRoutes
from transport.http.routes.devices import DeviceRoutes, PairingRoutes
from transport.http.routes.files import UploadRoutes
from transport.http.routes.notifications import NotificationRoutes
from transport.http.routes.requests import decide_by_button, decide_request
from transport.http.routes.search import search
from transport.http.routes.server import ServerRoutes, SystemRoutes, description
from transport.http.routes.session_actions import (
    close_session,
    delete_session,
    export_session,
    fork_session,
    move_session,
)
from transport.http.routes.sessions import SessionRoutes
from transport.http.routes.tasks import list_tasks
from transport.http.routes.web import web_routes
from transport.http.routes.workspace import WorkspaceRoutes
from transport.http.services import HttpServices, Port
from transport.http.static import read_web_files
from transport.ports import Deps, Device
from transport.sessions import failure_of
from transport.workspace.removal import SessionRemoval

__all__ = ["CODE_PATH", "OPEN_PATHS", "make_app"]

FILE: Final = "GET /uploads/{name}"
BLOB: Final = "GET /uploads/blobs/{session}/{digest}"

_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many",
}

_FAILURES: Final = {"unknown_session": (404, "not_found"), "storage": (503, "storage")}
"""Status and code of a session's failures; any other is 503 `unavailable`."""

STATUS: Final = "GET /api/status"
TEST: Final = "POST /api/notifications/{id}/test"

_REFUSALS: Final = {"busy": 429, "too_large": 413, "internal": 500}
"""Status of what another machine refuses; any other is 503."""

if TYPE_CHECKING:
    from transport.http.elsewhere import HomeRoutes

logger = logging.getLogger("builderos.transport")

Endpoint = Callable[[Request, Device], Awaitable[Response]]
CodeEndpoint = Callable[[Request, Pairing], Awaitable[Response]]
FileEndpoint = Callable[[Request, Device | None], Awaitable[Response]]
_AnyEndpoint = TypeVar("_AnyEndpoint", Endpoint, FileEndpoint)


def make_app(config: TransportConfig, deps: Deps, port: Port, sign_ins: SignIns) -> Starlette:
    """Return the application. Blocks: it reads the web client's files.

    Args:
        config, deps: the listener's own.
        port: the listener, as its routes see it.
        sign_ins: turns a key into its device.
    """
    server = ServerRoutes(config, deps, port.counts)
    sessions = SessionRoutes(deps)
    where = _home_routes(deps)
    routes = [
        Route("/api/health", server.health, methods=["GET"]),
        _route(STATUS, where.at_node(STATUS, server.status)),
        _route("GET /api/nodes", server.nodes),
        _route("GET /api/openapi.json", partial(description, config.version)),
        _route("GET /api/sessions", sessions.listing),
        _route("GET /api/sessions/{id}/messages", sessions.messages),
        _route("GET /api/sessions/{id}/events", sessions.events),
        _route("GET /api/sessions/{id}/tasks", partial(list_tasks, deps.catalog, deps.journal)),
        _route("DELETE /api/{agent}/session/{id}/close", partial(close_session, config, deps)),
        *web_routes(read_web_files(config.web)),
    ]
    if deps.services is not None:
        routes += _more_routes(config, deps, deps.services, port, where)
    checks = [
        Middleware(Forwarded, proxies=Proxies.named(config.trusted_proxies)),
        Middleware(Keys, deps=deps, sign_ins=sign_ins, underway=port.underway),
        Middleware(AliasedPaths, aliases=deps.aliases),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(DrainRequestBody), Middleware(SafeHeaders), Middleware(_Errors), *checks],
        exception_handlers={HTTPException: _http_exception},
    )
    # A path with an extra slash is not found; a redirect would name the host that the client claims.
    app.router.redirect_slashes = False
    return app


def _more_routes(
    config: TransportConfig, deps: Deps, services: HttpServices, port: Port, where: _AllHere | HomeRoutes
) -> list[Route]:
    uploads = UploadRoutes(services, deps.clock, config)
    devices = DeviceRoutes(services, port, deps.clock)
    pairing = PairingRoutes(services, deps.clock)
    workspace = WorkspaceRoutes(deps, services.work)
    desk = DeskRoutes(deps, services.desk)
    figures = DelayRoutes(services, port, deps.catalog, deps.delays)
    removal = SessionRemoval(services.sessions, deps.catalog, services.work)
    return [
        _route("POST /api/files/upload", uploads.upload),
        _file_route(FILE, where.at_keeper(FILE, uploads.download)),
        _file_route(BLOB, where.at_blob(BLOB, uploads.blob)),
        _route("GET /api/sessions/{id}/export", partial(export_session, services.export, deps.catalog)),
        *(
            _route(action, where.at_home(action, endpoint))
            for action, endpoint in (
                ("DELETE /api/sessions/{id}", partial(delete_session, removal, services.audit, deps.clock)),
                ("GET /api/sessions/{id}/changes", partial(list_changes, deps, services.work)),
                ("GET /api/sessions/{id}/files", workspace.listing),
                ("GET /api/sessions/{id}/file", workspace.file),
                ("POST /api/sessions/{id}/give-back", desk.give_back),
                ("POST /api/sessions/{id}/fork", partial(fork_session, services.forks, services.new_id)),
            )
        ),
        *(
            _route(action, where.at_node(action, endpoint))
            for action, endpoint in (
                ("GET /api/folders", workspace.folders),
                ("GET /api/desk/sessions", desk.listing),
                ("POST /api/desk/sessions/{agent}/{native_id}/open", desk.open),
            )
        ),
        _route("POST /api/desk/hook", desk.note_hook),
        _route("POST /api/sessions/{id}/move", partial(move_session, services.moves, deps, services.audit)),
        _route("GET /api/search", partial(search, services.search)),
        _route("GET /api/capsules", partial(list_capsules, services.workspace)),
        *_notification_routes(config, deps, services, where),
        _route("POST /api/system/sleep", SystemRoutes(services, deps.clock).sleep),
        _route("GET /api/devices", devices.listing),
        _route("POST /api/devices", devices.add),
        _route("POST /api/devices/pair", pairing.make),
        _route("DELETE /api/devices/{id}", devices.revoke),
        _code_route(CODE_PATH, pairing.redeem),
        _route("GET /metrics", figures.metrics),
        _route("GET /api/delays", figures.listing),
    ]


class _AllHere:
    """In place of `transport.http.elsewhere.HomeRoutes`, if there are no other machines."""

    def at_home(self, action: str, route: _AnyEndpoint) -> _AnyEndpoint:
        return route

    at_first = at_blob = at_keeper = at_home

    def at_node(self, action: str, route: Endpoint) -> Endpoint:
        return partial(_answer_here, route)


async def _answer_here(route: Endpoint, request: Request, device: Device) -> Response:
    """Answer a route that may name another machine, of which there is none."""
    (node,) = query_of(request, "node")
    if node is not None:
        raise HttpError(404, "unknown_node", f"node: {UnknownNode(node)}")
    return await route(request, device)


def _home_routes(deps: Deps) -> _AllHere | HomeRoutes:
    """Return what lets the right machine answer a route."""
    if deps.nodes is None or deps.services is None:
        return _AllHere()
    from transport.http.elsewhere import HomeRoutes

    routes = HomeRoutes(deps, deps.nodes, deps.services, _answer_to)
    routes.serve()
    return routes


def _notification_routes(
    config: TransportConfig, deps: Deps, services: HttpServices, where: _AllHere | HomeRoutes
) -> list[Route]:
    routes = NotificationRoutes(services.notifier, deps.clock, deps.aliases, deps.trail)
    return [
        _route("POST /api/notifications/register", routes.register),
        _route("GET /api/notifications", routes.listing),
        _route("GET /api/notifications/why", routes.why),
        _route("POST /api/notifications/seen", routes.seen),
        _route("POST /api/notifications/{id}", routes.change),
        _route("DELETE /api/notifications/{id}", routes.remove),
        _route(TEST, where.at_first(TEST, routes.test)),
        _route("POST /api/sessions/{id}/requests/{request_id}", partial(decide_request, config, deps)),
        Route(
            ACT_PATH,
            partial(decide_by_button, config, deps.bus, deps.clock, services.notifier),
            methods=["POST"],
        ),
    ]


def _route(action: str, endpoint: Endpoint) -> Route:
    method, path = action.split(" ")

    async def checked(request: Request) -> Response:
        device: Device = request.scope["builderos.device"]
        if not authorize(device.scope, action):
            raise HttpError(403, "forbidden", "This key may not do that.")
        return await endpoint(request, device)

    return Route(path, checked, methods=[method])


def _file_route(action: str, endpoint: FileEndpoint) -> Route:
    """Return a route that is also open to a signed address, without a key."""
    method, path = action.split(" ")

    async def checked(request: Request) -> Response:
        device: Device | None = request.scope["builderos.device"]
        if device is not None and not authorize(device.scope, action):
            raise HttpError(403, "forbidden", "This key may not do that.")
        return await endpoint(request, device)

    return Route(path, checked, methods=[method])


def _code_route(path: str, endpoint: CodeEndpoint) -> Route:
    """Return a route that a pairing code opens."""

    async def checked(request: Request) -> Response:
        return await endpoint(request, request.scope["builderos.pairing"])

    return Route(path, checked, methods=["POST"])


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = error_response(error.status_code, _CODES.get(error.status_code, "refused"), f"{error.detail}.")
    answer.headers.update(error.headers or {})
    if error.status_code == 405:  # the router names the methods of one route only
        answer.headers["Allow"] = ", ".join(_methods_of(request))
    return answer


def _methods_of(request: Request) -> list[str]:
    """Return the methods that the request's path takes."""
    fitting = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in fitting for method in route.methods})


def _answer_to(error: Exception) -> Response:
    """Return the response for an error; log it if it is the server's fault."""
    if isinstance(error, HttpError):
        return error_response(error.status, error.code, str(error), error.by_device)
    if isinstance(error, ClientDisconnect):
        return error_response(400, "bad_request", "The request is incomplete.")
    if isinstance(error, NodeCallRefused):
        return error_response(_REFUSALS.get(error.code, 503), error.code, str(error))
    if isinstance(error, MachineAway):
        return error_response(503, "machine_away", str(error))
    if isinstance(error, ActorError | StorageError):
        failure = failure_of(error, "HTTP request")
        status, code = _FAILURES.get(failure.code, (503, "unavailable"))
        return error_response(status, code, failure.text)
    logger.error("HTTP request: failed", exc_info=error)
    return error_response(500, "internal", "Internal server error; see the server's log.")


@attrs.frozen
class _Errors:
    """The outermost error handler: no exception leaves it, and the client never gets a traceback."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            answer = _answer_to(error)
            if not begun:
                await answer(scope, receive, send)
