"""`builderos audit` over a real server: every act has its author, and the export proves itself."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage.read_only import open_reading
from tests.builderos.terminal import run_command
from tests.e2e.shared_server import open_http
from tests.support.device import open_device
from tests.support.server import Server, open_server

Json = dict[str, Any]


async def audit(server: Server, *arguments: str) -> list[Json]:
    status, out, err = await run_command(server, "audit", "--json", *arguments)
    assert (status, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def acts(lines: list[Json], act: str) -> list[Json]:
    return [line for line in lines if line["act"] == act]


async def play(server: Server) -> Json:
    """Let a paired device do everything once; return what it learnt of itself."""
    async with open_http(server) as http:
        made = (await http.post("/api/devices/pair", json={"name": "iPad", "scope": "drive"})).json()
        proxy = {"X-Forwarded-For": "198.51.100.9"}
        async with httpx.AsyncClient(base_url=server.url, headers=proxy) as other:
            for _ in range(5):
                assert (await other.get("/api/sessions", headers={"X-API-Key": "guess"})).status_code == 401
            paired: Json = (await other.post("/api/pair", headers={"X-API-Key": made["code"]})).json()
        async with open_device(server.url, paired["key"]) as device:
            await device.attach("trip", agent="echo", device_id="ipad")
            await device.send("trip", "/ask may I", message_id="m1")
            asked = await device.wait_for("permission_requested")
            await device.say("decide", session_id="trip", request_id=asked["request_id"], decision="deny")
            await device.wait_for("complete")
            await device.send("trip", "/hang", message_id="m2")
            await device.wait_for("delivery", state="consumed")
            await device.send("trip", "later", message_id="m3")
            await device.say("cancel", session_id="trip", message_id="m3")
            await device.wait_for("delivery", state="cancelled")
            await device.say("interrupt", session_id="trip")
            await device.wait_for("interrupted")
        assert (await http.delete(f"/api/devices/{paired['id']}")).status_code == 200
        async with server.device() as first:
            await first.attach("gone", agent="echo")
        assert (await http.delete("/api/sessions/gone")).status_code == 200
    return paired


async def test_every_act_has_its_author(tmp_path: Path) -> None:
    async with open_server(tmp_path, config='trusted_proxies = ["127.0.0.0/8"]\n') as server:
        paired = await play(server)
        lines = await audit(server)
        sent = acts(lines, "sent")
        assert [line["subject"] for line in sent] == ["m1", "m2", "m3"]
        who = {"device": "ipad", "key_id": paired["id"], "name": "iPad", "address": "127.0.0.1"}
        for act in ("sent", "decided deny", "cancelled", "interrupted"):
            for line in acts(lines, act):
                assert who.items() <= line.items(), line
                assert line["session_id"] == "trip"
            assert acts(lines, act), act
        (failed, *_) = acts(lines, "sign_in_failed")
        assert (failed["address"], failed.get("key_id")) == ("198.51.100.9", None)
        (joined,) = acts(lines, "paired")
        assert (joined["key_id"], joined["address"], joined["subject"]) == (
            paired["id"],
            "198.51.100.9",
            "first",
        )
        assert acts(lines, "pairing_opened")[0]["key_id"] == "first"
        (revoked,) = acts(lines, "revoked")
        assert (revoked["key_id"], revoked["subject"]) == ("first", paired["id"])
        (deleted,) = acts(lines, "session_deleted")
        assert (deleted["key_id"], deleted["session_id"]) == ("first", "gone")
        assert {line["key_id"] for line in acts(lines, "signed_in")} == {"first", paired["id"]}
        for text in (paired["key"], server.key, "guess", "may I", "later"):
            assert text not in json.dumps(lines), "no secret and no content"
        assert [line["act"] for line in await audit(server, "--session", "gone")] == ["session_deleted"]
        assert {line["session_id"] for line in await audit(server, "--session", "trip")} == {"trip"}
        assert await audit(server, "--since", "2999-01-01") == []
        assert len(await audit(server, "--since", "24h")) == len(await audit(server))
        status, out, _ = await run_command(server, "audit")
        assert status == 0
        assert any("decided deny  iPad as ipad  from 127.0.0.1  in trip" in line for line in out.splitlines())


async def test_the_choice_of_bypass_and_grants_taken_back_are_noted(tmp_path: Path) -> None:
    config = '[agents.free]\nkind = "echo"\nallow_bypass = true\n'
    async with open_server(tmp_path, config=config) as server:
        async with server.device() as device:
            await device.attach("made", agent="free", settings={"permission_mode": "bypass"})
            await device.attach("made")
            await device.attach("trip", agent="free")
            await device.send("trip", "/ask may I")
            asked = await device.wait_for("permission_requested")
            decision = {"request_id": asked["request_id"], "decision": "allow_session"}
            await device.say("decide", session_id="trip", **decision)
            await device.wait_for("complete")
            await device.say("revoke_grant", session_id="trip", grant=asked["grant"])
            await device.wait_for("session_updated", grants=[])
            await device.say("configure", session_id="trip", settings={"permission_mode": "bypass"})
            await device.wait_for(lambda frame: "settings" in frame and frame["type"] == "session_updated")
        await server.terminate()
        found = [
            (line["act"], line["session_id"], line.get("subject"), line["key_id"])
            for line in await audit(server)
            if line["act"] in ("bypass_chosen", "grant_revoked")
        ]
        assert found == [
            ("bypass_chosen", "made", "bypass", "first"),
            ("grant_revoked", "trip", None, "first"),
            ("bypass_chosen", "trip", "bypass", "first"),
        ]


async def test_the_hook_is_noted_with_a_server_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    async with open_server(tmp_path) as server:
        for _ in range(2):
            status, _, err = await run_command(server, "desk", "install", "--yes")
            assert (status, err) == (0, "")
        await server.terminate()
        for _ in range(2):
            status, _, err = await run_command(server, "desk", "remove")
            assert (status, err) == (0, "")
        found = [(line["act"], line["key_id"]) for line in await audit(server) if "desk" in line["act"]]
        assert found == [("desk_installed", "first"), ("desk_removed", "first")], (
            "only what changed something"
        )


async def test_the_export_proves_itself_also_after_a_stop(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        await play(server)
        await server.terminate()
        lines = await audit(server)
        assert sum(line["count"] for line in acts(lines, "sign_in_failed")) == 5
        rows = [line for line in lines if "hash" in line]
        before = "00" * 32
        for number, row in enumerate(rows, start=1):
            fields = [row.get(name) for name in ("key_id", "address", "session_id", "subject")]
            body = [row["number"], row["at_ms"], row["act"], *fields, row["count"]]
            text = json.dumps(body, separators=(",", ":"))
            assert (row["number"], row["before"]) == (number, before)
            before = sha256(bytes.fromhex(before) + text.encode()).hexdigest()
            assert row["hash"] == before
        assert (server.data / "audit-head").read_text() == f"{len(rows)}:{before}\n"
        async with open_reading(server.data / "builderos.db") as reading:
            assert await reading.audit.verify() == []
        await server.restart()
        assert acts(await audit(server), "audit_cut") == []


async def test_without_a_database(tmp_path: Path) -> None:
    async with open_server(tmp_path, start=False) as server:
        status, out, err = await run_command(server, "audit")
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        status, out, err = await run_command(server, "audit", "--since", "yesterday")
        assert (status, out, len(err.splitlines())) == (2, "", 1)
