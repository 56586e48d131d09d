"""`POST /api/devices/pair` and `POST /api/pair`: a code in a link, and the key that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from storage.tables.pairings import PAIRING_MS
from tests.storage.stores import opened
from tests.transport.client import LIMIT_S
from tests.transport.http.calls import World, error, open_world
from transport.access import attempts
from transport.http.routes.devices import MAX_DEVICES
from transport.v3.events import timestamp


async def make(world: World, **body: Any) -> dict[str, Any]:
    answer = await world.http.post("/api/devices/pair", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def use(world: World, code: str, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=world.served.base, timeout=LIMIT_S) as http:
        return await http.post("/api/pair", headers={"X-API-Key": code}, json=body)


async def begin(world: World) -> None:
    """Let the keys of the store know the device that the fakes call `phone`: codes end with their maker."""
    await world.services.devices.add(name="p", scope="admin", key="k", device_id="phone", now_ms=1)


async def test_a_code_makes_one_device(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        made = await make(world)
        expires = timestamp(world.served.fakes.now_ms + PAIRING_MS)
        url = f"{world.served.base}/#pair={made['code']}"
        assert made.pop("qr").startswith("<svg ")
        assert made == {"code": made["code"], "url": url, "scope": "drive", "expires_at": expires}
        answer = await use(world, made["code"], name="Ann's iPad")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert set(told) == {"id", "key", "name", "scope"}
        assert (told["name"], told["scope"]) == ("Ann's iPad", "drive")
        found = world.services.devices.find(told["key"])
        assert found is not None
        assert (found.id, found.name, found.scope) == (told["id"], "Ann's iPad", "drive")
        assert error(await use(world, made["code"])) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("given", "own", "named"),
    [("Kitchen", "iPad", "Kitchen"), ("Kitchen", None, "Kitchen"), (None, None, "paired device")],
)
async def test_whose_name_stands(tmp_path: Path, given: str | None, own: str | None, named: str) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        made = await make(world, name=given, scope="view")
        told = (await use(world, made["code"], name=own)).json()
        assert (told["name"], told["scope"]) == (named, "view")


async def test_neither_call_needs_a_body_and_the_code_may_be_a_bearer(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        made = (await world.http.post("/api/devices/pair")).json()
        headers = {"Authorization": f"Bearer {made['code']}"}
        async with httpx.AsyncClient(base_url=world.served.base) as http:
            assert (await http.post("/api/pair", headers=headers)).status_code == 200


async def test_two_at_the_same_moment(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        code = (await make(world))["code"]
        statuses: list[int] = []

        async def pair() -> None:
            statuses.append((await use(world, code)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(pair)
        assert sorted(statuses) == [200, 401, 401, 401, 401, 401]
        assert len(world.services.devices.list()) == 2


async def test_what_is_no_good_code_gets_one_answer(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        code = (await make(world))["code"]
        world.served.fakes.now_ms += PAIRING_MS // 2
        used = (await make(world))["code"]
        assert (await use(world, used)).status_code == 200
        texts = set()
        world.served.fakes.now_ms += PAIRING_MS // 2 + 1
        for wrong in ("nothing", used, code, "key-of-phone", code[:-1]):
            answer = await use(world, wrong)
            assert error(answer) == (401, "unauthorized")
            texts.add(answer.text)
        async with httpx.AsyncClient(base_url=world.served.base) as http:
            answer = await http.post("/api/pair")
            assert error(answer) == (401, "unauthorized")
            texts.add(answer.text)
        assert len(texts) == 1


async def test_a_code_ends_after_ten_minutes(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        now_ms = world.served.fakes.now_ms
        pairings = world.services.pairings
        code = (await make(world))["code"]
        assert pairings.find(code, now_ms=now_ms + PAIRING_MS - 1) is not None
        assert pairings.find(code, now_ms=now_ms + PAIRING_MS) is None


@pytest.mark.parametrize(
    "body", [{"scope": "god"}, {"scope": 7}, {"name": ""}, {"name": "a\x1b[2J"}, {"name": "n" * 101}]
)
async def test_what_may_not_be_asked_for(tmp_path: Path, body: dict[str, Any]) -> None:
    async with open_world(tmp_path) as world:
        assert error(await world.http.post("/api/devices/pair", json=body)) == (400, "bad_request")


async def test_a_request_that_is_refused_leaves_the_code_good(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        code = (await make(world))["code"]
        assert error(await use(world, code, name="a\x1b[2J")) == (400, "bad_request")
        assert error(await use(world, code, name="n" * 101)) == (400, "bad_request")
        async with httpx.AsyncClient(base_url=world.served.base) as http:
            for method in ("GET", "DELETE"):
                answer = await http.request(method, "/api/pair", headers={"X-API-Key": code})
                assert error(answer) == (405, "method_not_allowed")
        assert (await use(world, code)).status_code == 200


async def test_a_code_opens_nothing_else_and_a_key_does_not_pair(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        code = (await make(world, scope="admin"))["code"]
        for method, path in (
            ("GET", "/api/sessions"),
            ("GET", "/api/devices"),
            ("POST", "/api/devices/pair"),
        ):
            answer = await world.http.request(method, path, headers={"X-API-Key": code})
            assert error(answer) == (401, "unauthorized")
        async with world.served.client(key=code) as client:
            assert await client.closed() == 4401
        assert error(await use(world, "key-of-phone")) == (401, "unauthorized")


async def test_only_an_admin_makes_codes_and_not_many(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        world.served.fakes.devices.add("driver", "drive")
        headers = {"X-API-Key": "key-of-driver"}
        assert error(await world.http.post("/api/devices/pair", headers=headers)) == (403, "forbidden")
        for _ in range(20):
            await make(world)
        assert error(await world.http.post("/api/devices/pair")) == (429, "too_many")


async def test_devices_are_bounded_and_the_code_stays_good(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        code = (await make(world))["code"]
        known = world.services.devices._devices
        device, key_hash = known["phone"]
        for number in range(MAX_DEVICES - 1):
            known[f"x{number}"] = (attrs.evolve(device, id=f"x{number}"), key_hash)
        assert error(await use(world, code)) == (429, "too_many")
        del known["x0"]
        assert (await use(world, code)).status_code == 200


async def test_codes_cannot_be_guessed_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "SIGN_IN_TRIES", 20)
    async with open_world(tmp_path) as world:
        await begin(world)
        made = (await make(world))["code"]
        headers = {"X-Forwarded-For": "203.0.113.7"}
        async with httpx.AsyncClient(base_url=world.served.base, headers=headers, timeout=LIMIT_S) as http:
            for _ in range(20):
                answer = await http.post("/api/pair", headers={"X-API-Key": "guess"})
                assert answer.status_code == 401
            for key in ("guess", made):
                answer = await http.post("/api/pair", headers={"X-API-Key": key})
                assert error(answer) == (429, "too_many")
        assert (await use(world, made)).status_code == 200  # somebody else's address


async def test_the_database_holds_what_the_call_made(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        code = (await make(world, name="Mac"))["code"]
    async with opened(tmp_path / "x.db") as store:
        found = store.pairings.find(code, now_ms=world.served.fakes.now_ms)
        assert found is not None
        assert (found.name, found.made_by) == ("Mac", "phone")


async def test_a_link_with_the_address_that_the_other_device_will_use(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        here = world.served.base.replace("127.0.0.1", "localhost")
        made = await make(world, url=f"{here}/")
        assert made["url"] == f"{here}/#pair={made['code']}"
        assert made["reached"] is True
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await listeners[0].aclose()
        made = await make(world, url=f"http://127.0.0.1:{port}")
        assert (made["reached"], made["url"].partition("#")[0]) == (False, f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("url", ["ftp://host", "host", "https://a/b", "https://a@b", "http://h:99999", ""])
async def test_an_address_that_is_none_makes_no_link(tmp_path: Path, url: str) -> None:
    async with open_world(tmp_path) as world:
        await begin(world)
        assert error(await world.http.post("/api/devices/pair", json={"url": url})) == (400, "bad_request")
