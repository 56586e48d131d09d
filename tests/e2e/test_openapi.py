"""The server does what its own description says, for any input that schemathesis thinks of.

Whether input that the description does not allow is refused is not asked for: unknown fields are ignored,
and several calls take more than they say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.e2e.shared_server import Shared, open_http
from tests.support.server import open_server
from transport.access.auth import HTTP_SCOPES
from transport.access.signed_urls import ACT_PATH
from transport.http.app import CODE_PATH, OPEN_PATHS
from transport.http.openapi.document import describe

_refusing: set[str] = set()
"""The calls that were seen to refuse wrong keys. Once is enough: an address has 1,000 tries, which all calls share."""


def refuses_wrong_keys(
    ctx: schemathesis.CheckContext, response: Any, case: schemathesis.Case[Any]
) -> bool | None:
    if case.operation.label in _refusing:
        return None
    ignored_auth(ctx, response, case)
    if response.status_code < 300:
        _refusing.add(case.operation.label)
    return None


CHECKS = [
    not_a_server_error,
    content_type_conformance,
    refuses_wrong_keys,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


def test_every_call_is_described() -> None:
    paths = describe("1")["paths"]
    described = {f"{method.upper()} {path}" for path, calls in paths.items() for method in calls}
    scoped = {call.partition("?")[0] for call in HTTP_SCOPES}
    assert described == {
        *scoped,
        *(f"GET {path}" for path in OPEN_PATHS),
        f"POST {CODE_PATH}",
        f"POST {ACT_PATH}",
    }


def test_the_description_is_served(shared: Shared) -> None:
    told = httpx.get(f"{shared.url}/api/openapi.json", headers={"X-API-Key": shared.key}).json()
    assert told == describe(told["info"]["version"])


schema = schemathesis.openapi.from_dict(describe("1"))


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_server_is_as_described(case: schemathesis.Case[Any], shared: Shared) -> None:
    case.call_and_validate(base_url=shared.url, headers={"X-API-Key": shared.key}, checks=CHECKS)


async def test_answers_with_something_in_them_are_as_described(shared: Shared, sid: str) -> None:
    async with open_http(shared) as http, shared.device() as device:
        files = {"file": ("a.png", b"abc", "image/png")}
        upload = await http.post("/api/files/upload", files=files, data={"type": "photo"})
        await device.attach(sid, agent="echo")
        await device.send(sid, "quokka", attachments=[{"url": upload.json()["url"]}])
        await device.wait_for("complete")
        check("POST", "/api/files/upload", upload)
        for path, url in {
            "/api/health": "/api/health",
            "/api/status": "/api/status",
            "/api/nodes": "/api/nodes",
            "/api/sessions": "/api/sessions",
            "/api/sessions/{id}/messages": f"/api/sessions/{sid}/messages",
            "/api/sessions/{id}/events": f"/api/sessions/{sid}/events",
            "/api/sessions/{id}/tasks": f"/api/sessions/{sid}/tasks",
            "/api/search": "/api/search?q=quokka",
            "/api/devices": "/api/devices",
            "/api/sessions/{id}/export": f"/api/sessions/{sid}/export",
            "/api/delays": "/api/delays",
            "/metrics": "/metrics",
            "/uploads/{name}": upload.json()["path"],
        }.items():
            check("GET", path, await http.get(url))


async def test_answers_about_devices_are_as_described(place: Path) -> None:
    # A server of its own: on the other one all codes that may be open at once are.
    async with open_server(place) as server, open_http(server) as http:
        link = await http.post("/api/devices/pair", json={"scope": "view", "name": "tablet"})
        check("POST", "/api/devices/pair", link)
        paired = await http.post("/api/pair", headers={"X-API-Key": link.json()["code"]}, json={})
        check("POST", "/api/pair", paired)
        added = await http.post("/api/devices", json={"scope": "view", "name": "phone"})
        check("POST", "/api/devices", added)
        for one in (paired, added):
            revoked = await http.delete(f"/api/devices/{one.json()['id']}")
            check("DELETE", "/api/devices/{id}", revoked)


def check(method: str, path: str, answer: httpx.Response) -> None:
    """Hold an answer to the description."""
    assert answer.status_code == 200, answer.text
    answer.request = httpx.Request(method, str(answer.url))  # without its body, which was streamed
    schema[path][method].validate_response(answer)
