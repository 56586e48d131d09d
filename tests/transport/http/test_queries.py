"""Bad values of query parameters: each is a 400 that names its parameter.

`BAD` is the table. A described parameter without a row fails a test, so that nobody adds one that takes anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from bridgehub.workspace.paths import MAX_PATH_CHARS
from tests.transport.http.calls import error, open_world
from transport.access.signed_urls import ACT_PATH
from transport.http.openapi.document import describe

NO_TEXT: Final = "%FF"
"""Bytes that are not UTF-8, which no parameter takes."""

NUMBERS: Final = ("", "x", "-1", "1.5", "+1", "9223372036854775808", "%C2%B2")
LIMITS: Final = (*NUMBERS, "0", "501")
CURSORS: Final = ("garbage", "", "!", "MQ", "eDp4", "%C2%B2")
PATHS: Final = ("%00", "x" * (MAX_PATH_CHARS + 1))

BAD: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "GET /api/sessions": {
        "limit": LIMITS,
        "before": CURSORS,
        "archived": ("", "yes", "TRUE"),
        "workspace": PATHS,
    },
    "GET /api/sessions/{id}/messages": {
        "limit": LIMITS,
        "after_seq": NUMBERS,
        "before_seq": NUMBERS,
        "format": ("", "md", "HTML"),
    },
    "GET /api/sessions/{id}/events": {"limit": LIMITS, "after_seq": NUMBERS},
    "GET /api/sessions/{id}/tasks": {"limit": LIMITS, "before": NUMBERS},
    "GET /api/sessions/{id}/export": {"format": ("", "html")},
    "DELETE /api/sessions/{id}": {"force": ("", "1", "yes")},
    "GET /api/search": {"q": ("x" * 1001,), "limit": LIMITS, "before": NUMBERS},
    # No checkpoint and no turn of that name is 404.
    "GET /api/sessions/{id}/changes": {"path": PATHS, "turn": (), "from": (), "to": ()},
    "GET /api/sessions/{id}/files": {"path": PATHS, "q": ("", "%00", "x" * 201)},
    "GET /api/sessions/{id}/file": {"path": PATHS, "checkpoint": ()},
    "GET /api/desk/sessions": {
        "agent": (),
        "workspace": PATHS,
        "q": ("x" * 201,),
        "before": CURSORS,
        "node": (),
        "limit": LIMITS,
    },
    "POST /api/desk/sessions/{agent}/{native_id}/open": {"node": ()},
    "POST /api/sessions/{id}/give-back": {"join": ("", "yes", "2"), "here": ("", "yes", "2")},
    "GET /api/folders": {"path": ("", "x", *PATHS), "node": ()},
    "GET /api/devices": {"limit": LIMITS, "after": ("", "nobody")},
    "GET /api/status": {"node": ()},
    "GET /api/notifications": {"all": ("", "true", "2")},
    "GET /api/notifications/why": {"session_id": ("", "a b", "%C2%B2"), "limit": LIMITS, "before": CURSORS},
}

NEEDED: Final = {"GET /api/search": "q=x&", "GET /api/sessions/{id}/file": "path=x&"}
"""What else a call must have."""


def test_every_described_parameter_has_a_row() -> None:
    described = {
        f"{method.upper()} {path}": {one["name"] for one in call["parameters"] if one["in"] == "query"}
        for path, calls in describe("1")["paths"].items()
        for method, call in calls.items()
        if "parameters" in call and path != ACT_PATH
    }
    named = {call: names - {"sig"} for call, names in described.items() if names - {"sig"}}
    assert named == {call: set(rows) for call, rows in BAD.items()}


@pytest.mark.parametrize("call", BAD)
async def test_a_bad_value_is_a_400_that_names_it(tmp_path: Path, call: str) -> None:
    method, pattern = call.split(" ")
    path = pattern.replace("{id}", "trip").replace("{agent}", "claude").replace("{native_id}", "n")
    async with open_world(tmp_path) as world:
        world.served.fakes.add_session("trip")
        for name, values in BAD[call].items():
            for value in (*values, NO_TEXT):
                others = "" if name in NEEDED.get(call, "").split("=") else NEEDED.get(call, "")
                answer = await world.http.request(method, f"{path}?{others}{name}={value}")
                assert answer.status_code == 400, (name, value, answer.text)
                assert error(answer) == (400, "bad_request"), (name, value)
                assert name in answer.json()["error"]["message"].replace("`", "").split(), (name, value)
