"""Nothing that a key may read opens anything: all of it is collected with a `view` key and tried at every entry.

A bounded number of tries; `BUILDEROS_TRIES=20000` in the environment makes it a longer run.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import trio

from tests.app.line import chat, open_line
from tests.security.guarded_server import KEYS, Guarded
from tests.support.device import open_device
from transport.access.auth import FRAME_SCOPES, HTTP_SCOPES

LIMIT_S: Final = 30.0

TRIES: Final = int(os.environ.get("BUILDEROS_TRIES", "240"))
"""Tries at each kind of entry."""

TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+/-]{2,}")
OWN_FORM: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

AT_ONCE: Final = 8

_ADDRESSES: Final = itertools.count(1)


def address() -> str:
    """Return an address that nobody came from yet, so that no limit of tries stops us."""
    number = next(_ADDRESSES)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


async def use_the_app(guarded: Guarded, phone: str, session_id: str) -> None:
    """Talk, leave a question open, and go away."""
    async with open_line(await guarded.connect(), "/api/claude/ws") as line:
        with trio.fail_after(LIMIT_S):
            await line.sign_in(KEYS["drive"])
            await line.say(chat("hello", session_id, phone))
            await line.exchange()
            await line.say(chat("/ask may I", session_id, phone))
            await line.exchange()
            await line.drop()


async def collect(guarded: Guarded, key: str) -> str:
    """Return everything that a key reads, as text."""
    found: list[str] = []
    async with httpx.AsyncClient(base_url=guarded.url, headers={"X-API-Key": key}, timeout=LIMIT_S) as http:
        sessions = (await http.get("/api/sessions?limit=500")).json()["sessions"]
        ids = [one["session_id"] for one in sessions]
        paths = ["/api/sessions", "/api/status", "/api/health", "/metrics", "/api/openapi.json"]
        paths += ["/api/capsules", "/api/search?q=hello", "/api/search?q=may", "/api/devices", "/"]
        for session_id in ids:
            base = f"/api/sessions/{session_id}"
            paths += [f"{base}/messages?format=html", f"{base}/messages", f"{base}/events", f"{base}/tasks"]
            paths += [f"{base}/export?format=md", f"{base}/export?format=json"]
        for path in paths:
            answer = await http.get(path)
            found += [answer.text, json.dumps(dict(answer.headers))]
    async with open_device(guarded.url, key) as device:
        await device.say("watch_sessions")
        for session_id in ids:
            attached = await device.attach(session_id, history=1000)
            if attached["head_seq"]:
                await device.wait_for(lambda _: True, session_id=session_id, seq=attached["head_seq"])
        await device.wait_for("heartbeat")
        found.append(json.dumps([device.ready, *device.frames]))
    return "\n".join(found)


def tokens_of(text: str) -> list[str]:
    """Return what may be an id, a key or a code: also the parts of an address."""
    whole = set(TOKEN.findall(text))
    parts = {part for token in whole for part in re.split(r"[/=]", token) if len(part) > 2}
    named = sorted(one for one in whole | parts if any(c.isdigit() for c in one) or "-" in one)
    rest = sorted((whole | parts) - set(named))
    return named + rest


async def throw(throws: Sequence[Any]) -> None:
    """Do a lot of things, some at a time."""
    left = iter(throws)

    async def one_after_the_other() -> None:
        for act in left:
            with trio.fail_after(LIMIT_S):
                await act()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(one_after_the_other)


def app_throws(guarded: Guarded, tokens: Sequence[str], rng: random.Random) -> Iterator[Any]:
    """Each token as a key, and pairs of them as the app's ids, with words that would decide or send."""
    ids = [one for one in tokens if re.fullmatch(r"[A-Za-z0-9._-]{1,128}", one)]
    sure = [one for one in ids if one.startswith("ios-")]
    pairs = [(one, two) for one in sure for two in sure]
    while len(pairs) < TRIES // 2:
        pairs.append((rng.choice(ids), rng.choice([*sure, *ids])))
    firsts = [chat(rng.choice(["yes", "allow", "hello"]), two, one) for one, two in pairs[: TRIES // 2]]
    firsts += [rng.choice(tokens) for _ in range(TRIES // 2)]
    for first in firsts:

        async def act(first: str = first) -> None:
            path = f"/api/{rng.choice(['claude', 'codex'])}/ws"
            async with open_line(await guarded.connect(), path, forwarded_for=address()) as line:
                await line.say(first)
                assert await line.text() == "error:invalid_api_key", first
                assert await line.closed() == 1000

        yield act


def http_throws(http: httpx.AsyncClient, tokens: Sequence[str], rng: random.Random) -> Iterator[Any]:
    """Tokens as keys and codes, and with the key that only reads in every path and body."""
    writes = [action.split(" ") for action, scope in HTTP_SCOPES.items() if scope != "view"]
    for number in range(TRIES):

        async def act(number: int = number) -> None:
            token = rng.choice(tokens)
            method, path = rng.choice(writes)
            headers = {"X-Forwarded-For": address(), "X-API-Key": token}
            if number % 3 == 0:
                method, path = "POST", "/api/pair"
            elif number % 3 == 1:
                path = re.sub(r"\{\w+\}", lambda _: re.sub(r"[^\w.-]", "_", rng.choice(tokens)), path)
                headers["X-API-Key"] = KEYS["view"]
            body = None if method == "DELETE" else b'{"name":"x","scope":"admin"}'
            answer = await http.request(method, path, headers=headers, content=body)
            assert answer.status_code in {401, 403, 404, 405}, (method, path, answer.text)

        yield act


def frame_throws(guarded: Guarded, tokens: Sequence[str], rng: random.Random) -> Iterator[Any]:
    """Tokens as keys of version 3, and every frame that acts, with the key that only reads and tokens in each field."""
    acts = [name for name, scope in FRAME_SCOPES.items() if scope != "view" and " " not in name]
    ids = [one for one in tokens if re.fullmatch(r"[A-Za-z0-9._-]{1,128}", one)]
    sessions = [one for one in ids if one.startswith("ios-")]

    def frame() -> dict[str, Any]:
        names = ("message_id", "request_id", "turn_id", "content", "title")
        fields: dict[str, Any] = {name: rng.choice(ids) for name in names}
        choices = {"decision": "allow", "action": "retry", "seq": 1, "mode": rng.choice(["queue", "steer"])}
        return fields | choices | {"session_id": rng.choice([*sessions, *ids])}

    for _ in range(TRIES // 20):

        async def act() -> None:
            async with open_device(guarded.url, rng.choice(tokens), wait_ready=False) as stranger:
                assert await stranger.wait_closed() in {4401, 4429}
            async with open_device(guarded.url, KEYS["view"]) as device:
                await device.say("attach", session_id=rng.choice(sessions), device_id=rng.choice(ids))
                for _ in range(20):
                    name = rng.choice(acts)
                    await device.say(name, **frame())
                await device.say("ping")
                await device.wait_for("pong")
                assert not [one for one in device.frames if one["type"] == "accepted"]

        yield act


async def test_all_that_a_view_key_reads_opens_nothing(guarded: Guarded) -> None:
    rng = random.Random(5)
    phone = str(uuid4()).upper()
    session_id = f"{phone}-claude-{str(uuid4()).upper()}"
    await use_the_app(guarded, phone, session_id)
    text = await collect(guarded, KEYS["view"])
    for part in (phone, session_id[-36:]):
        assert part.lower() not in text.lower()
    aliases = {one for one in TOKEN.findall(text) if re.fullmatch(r"ios-[0-9a-f]{12}", one)}
    assert len(aliases) == 2, "the session and the device"
    tokens = tokens_of(text)
    assert not any(OWN_FORM.fullmatch(one[:36]) and phone in one for one in tokens)
    before = await trio.to_thread.run_sync(state_of, guarded)
    await throw([*app_throws(guarded, tokens, rng)])
    async with httpx.AsyncClient(base_url=guarded.url, timeout=LIMIT_S) as http:
        await throw([*http_throws(http, tokens, rng)])
    await throw([*frame_throws(guarded, tokens, rng)])
    assert await trio.to_thread.run_sync(state_of, guarded) == before
    # The app itself still comes back without a key, is shown the question, and decides it.
    async with open_line(await guarded.connect(), "/api/claude/ws") as line:
        with trio.fail_after(LIMIT_S):
            await line.say(chat("yes", session_id, phone))
            assert await line.text() == "authenticated"
            assert "may I" in (await line.exchange())[0]
            await line.say(chat("yes", session_id, phone))
            # The question was asked on an earlier connection of this device: its answer continues here.
            assert (await line.exchange())[0].strip() == "allowed"
    assert await trio.to_thread.run_sync(state_of, guarded) != before


def state_of(guarded: Guarded) -> dict[str, Any]:
    """Return all that lasts, less the labels: a key that reads may take names that nobody has."""
    return {name: rows for name, rows in guarded.state().items() if name != "label"}


@pytest.mark.parametrize("own", [True, False])
async def test_a_link_with_the_apps_own_id_goes_on_to_work(guarded: Guarded, own: bool) -> None:
    phone = str(uuid4()).upper()
    session_id = f"{phone}-claude-{str(uuid4()).upper()}"
    await use_the_app(guarded, phone, session_id)
    async with httpx.AsyncClient(
        base_url=guarded.url, headers={"X-API-Key": KEYS["drive"]}, timeout=LIMIT_S
    ) as http:
        told = (await http.get(f"/api/sessions/{session_id}/messages")).json()
        alias = told["session_id"]
        assert re.fullmatch(r"ios-[0-9a-f]{12}", alias)
        assert told["messages"][0]["content"] == "hello"
        named = session_id if own else alias
        async with open_device(guarded.url, KEYS["drive"]) as device:
            attached = await device.attach(named, device_id=phone)
            assert attached["session_id"] == alias
            await device.say("rename", session_id=named, title="The trip")
            updated = await device.wait_for("session_updated", session_id=alias)
            assert re.fullmatch(r"ios-[0-9a-f]{12}", updated["device_id"])
        closed = await http.delete(f"/api/claude/session/{named}/close")
        assert (closed.status_code, closed.json()["session_id"]) == (200, alias)
