"""What speaks the iOS app's protocol is loaded with the first app, and never on the event loop."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import trio

from transport import upgrade
from transport.config import TransportConfig
from transport.upgrade import WebSocketUpgrade

NAME = "transport.ios.connection"


async def test_a_second_app_waits_for_what_is_half_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    loads: list[str] = []
    served: list[object] = []

    async def serve(self: WebSocketUpgrade, stream: object, *more: object) -> None:
        await trio.lowlevel.checkpoint()
        served.append(stream)

    monkeypatch.setattr(upgrade, "import_module", loads.append)
    monkeypatch.setattr(WebSocketUpgrade, "_serve", serve)
    deps: Any = SimpleNamespace(renderer=None, journal=None, clock=None)
    sign_ins: Any = None
    sockets = WebSocketUpgrade(TransportConfig(), deps, sign_ins)
    monkeypatch.setitem(sys.modules, NAME, ModuleType(NAME))  # as while another connection's thread loads it
    place: Any = SimpleNamespace(leave=lambda: None)
    for stream in ("first", "second"):
        await sockets._serve_app(stream, place, place, place)  # type: ignore[arg-type]
    assert served == ["first", "second"]
    assert loads == [NAME], "who comes while it is not whole waits for the thread, and nobody after that"
