"""Every frame and every call has its row, and what has none is refused to everybody."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from starlette.routing import Route

from builderos.terminal import client
from tests.fakes.bus import FakeServer
from tests.test_imports import ROOT
from tests.transport.services import open_services
from transport.access.auth import (
    CREATE_SESSION,
    DECIDE_MORE,
    FRAME_SCOPES,
    HTTP_SCOPES,
    OBSERVER_FRAMES,
    authorize,
)
from transport.access.signed_urls import ACT_PATH
from transport.access.signin import SignIns
from transport.config import TransportConfig
from transport.http.app import CODE_PATH, OPEN_PATHS, make_app
from transport.http.routes.web import is_web_path
from transport.http.services import Port
from transport.ports import SCOPES
from transport.v3.decode import FRAME_TYPES


def test_every_frame_type_has_a_row() -> None:
    assert set(FRAME_SCOPES) == set(FRAME_TYPES) | {CREATE_SESSION, DECIDE_MORE}
    assert set(FRAME_TYPES) >= OBSERVER_FRAMES


async def test_every_route_has_a_row(tmp_path: Path) -> None:
    async with open_services(tmp_path) as services:
        deps = attrs.evolve(FakeServer().deps(), services=services)
        app = make_app(
            TransportConfig(web=tmp_path / "none"),
            deps,
            Port(counts=dict),
            SignIns(deps.devices, deps.tries, deps.trail),
        )
    calls = set()
    for route in app.routes:
        assert isinstance(route, Route)
        if is_web_path(route.path):
            assert (route.methods or set()) <= {"GET", "HEAD"}, "the web client's files are only read"
        elif route.path not in OPEN_PATHS | {CODE_PATH, ACT_PATH}:
            calls |= {f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"}}
    assert calls == {call.partition("?")[0] for call in HTTP_SCOPES}


def test_what_is_not_in_a_table_is_refused() -> None:
    assert not authorize("admin", "format the disk")
    assert not authorize("god", "ping")


@pytest.mark.parametrize(
    ("action", "least"),
    [
        ("attach", "view"),
        ("decide", "approve"),
        ("send", "drive"),
        ("resolve", "drive"),
        (CREATE_SESSION, "drive"),
    ],
)
def test_a_scope_holds_those_before_it(action: str, least: str) -> None:
    scopes = ["view", "approve", "drive", "admin"]
    allowed = [scope for scope in scopes if authorize(scope, action)]
    assert allowed == scopes[scopes.index(least) :]


def test_clients_have_the_same_scopes_in_the_same_order() -> None:
    """They keep a copy: the browser has no Python, and the terminal client loads little."""
    text = (ROOT / "transport/web/js/names.js").read_text()
    copy = re.search(r"SCOPES = \{([^}]*)\}", text)
    assert copy is not None
    in_web = dict(re.findall(r'(\w+): "([^"]+)"', copy[1]))
    assert list(in_web) == list(SCOPES)
    assert list(in_web.items()) == list(client.SCOPES.items()), "one scope has one name in both"
