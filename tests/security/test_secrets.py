"""No key and no code is in what a run leaves behind, or shows while it runs: files, logs, arguments, words.

A server lives through sign-ins good and bad, pairing, revoking, uploads, two crashes, TLS and keys in all the wrong
places. Then everything is looked through: the data folder with its database and the log of that, what was written
to stdout and stderr, the arguments of processes. A key may be in `api-key`; the one that was made at the first start
was printed once in that banner; a command that makes a key or a code prints it once. What the agents know is looked
through in `tests/e2e/test_agent_secrets.py`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx
import psutil
import pytest
import trio

from tests.app.line import open_line
from tests.builderos.server.test_tls import make_pair
from tests.builderos.terminal import run_command
from tests.support.device import Closed, open_device
from tests.support.server import Server, open_server, processes_of

WRONG = "PLANTED-wrong-key-0f6e2a91"
OWN = "PLANTED-key-of-the-environment-77aa01"
TYPED = "PLANTED-word-of-a-message-52c3"
"""No secret: it has to be found where conversations are, else nothing was looked through."""

PREFIX = 16
"""Characters of a key that are too many in a log."""


@attrs.define(eq=False)
class Run:
    """What was used and what was seen so far."""

    server: Server
    folder: Path
    secrets: dict[str, str] = attrs.field(factory=dict)
    words: list[tuple[str, str]] = attrs.field(factory=list)
    arguments: set[str] = attrs.field(factory=set)

    async def command(self, *arguments: str) -> str:
        """Run a command; what it says on stderr is looked through. Return its stdout."""
        _, out, err = await run_command(self.server, *arguments)
        self.words.append((f"stderr of {arguments[0]}", err))
        return out

    async def look_at_processes(self) -> None:
        """Note the arguments of all that runs, and hold the environments of hubs against the keys."""
        await trio.to_thread.run_sync(self._look)

    def _look(self) -> None:
        for process in psutil.process_iter():
            try:
                self.arguments |= set(process.cmdline())
            except psutil.Error:
                continue
        others = [one for one in processes_of(self.server.data) if one.pid != self.server.pid]
        assert others, "a hub runs"
        for process in others:
            try:
                environment = process.environ()
            except psutil.Error:
                continue
            self.words.append(("the environment of a hub", json.dumps(environment)))
            assert not [name for name in environment if name.startswith("BUILDEROS_API")]

    def files(self) -> Iterator[Path]:
        """Return all files that are there now, but the one that holds the key."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path != self.server.data / "api-key":
                yield path

    def check(self) -> None:
        """Look everything through. Blocks."""
        contents = [(str(path.relative_to(self.folder)), path.read_bytes()) for path in self.files()]
        names = {name for name, _ in contents}
        assert {"stderr.log", "data/server.log", "data/builderos.db", "data/builderos.db-wal"} <= names, names
        assert any(TYPED.encode() in content for _, content in contents), "else nothing was looked through"
        contents += [(where, text.encode()) for where, text in self.words]
        contents += [("the arguments of a process", word.encode()) for word in self.arguments]
        for what, secret in self.secrets.items():
            for where, content in contents:
                for form in (secret, secret[:PREFIX]):
                    assert form.encode() not in content, f"{what} is in {where}"
        for where, content in contents:
            assert b"Traceback" not in content, where


async def come_in(run: Run) -> None:
    """Sign in in every way that there is."""
    url, key = run.server.url, run.server.key
    async with httpx.AsyncClient(base_url=url) as http:
        for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": key}):
            assert (await http.get("/api/sessions", headers=headers)).status_code == 200
    async with open_device(url, key, frame_key=True) as device:
        await device.attach("secrets", agent="echo")
        await device.ask("secrets", TYPED)
    async with open_line(await connect(run.server), "/api/claude/ws") as line:
        await line.sign_in(key)


async def fail_to_come_in(run: Run, key: str) -> None:
    """Bring a key where it opens nothing; what the server answers must not repeat it."""
    run.secrets[f"a key in the wrong place ({key[:12]})"] = key
    said = []
    async with httpx.AsyncClient(base_url=run.server.url) as http:
        for method, path, how in (
            ("GET", "/api/sessions", {"headers": {"X-API-Key": f"{key}x"}}),
            ("GET", "/api/sessions", {"headers": {"Authorization": f"Basic {key}"}}),
            ("GET", f"/api/sessions?key={key}", {}),
            ("GET", f"/api/{key}", {}),
            ("GET", f"/{key}", {}),
            ("GET", f"/uploads/{key}?sig={key}", {}),
            ("POST", "/api/pair", {"headers": {"X-API-Key": f"{key}x"}, "json": {"name": key}}),
            ("POST", "/api/devices", {"headers": {"X-API-Key": run.server.key}, "content": f"[{key}"}),
            ("GET", f"/api/sessions?before={key}", {"headers": {"X-API-Key": run.server.key}}),
            ("GET", f"/api/sessions/{key}%20/events", {"headers": {"X-API-Key": run.server.key}}),
        ):
            answer = await http.request(method, path, **how)
            assert answer.status_code in (400, 401, 404), path
            said.append(answer.text)
    for text in (
        f"GET / HTTP/1.1\r\n{key}\r\n\r\n",
        f"{key}\r\n\r\n",
        f"GET /{key} HTTP/9.9\r\nX-API-Key {key}\r\n\r\n",
    ):
        stream = await connect(run.server)
        await stream.send_all(text.encode())
        said.append((await stream.receive_some(65536)).decode())
        await stream.aclose()
    async with open_device(run.server.url, f"{key}x", wait_ready=False) as device:
        assert await device.wait_closed() == 4401
        said.append(json.dumps(device.frames))
    async with run.server.device() as device:
        for text in (
            key,
            f'{{"type":"{key}"}}',
            f'{{"type":"auth","token":"{key}"',
            f'{{"type":"ping"}}{key}',
        ):
            await device.say_raw(text)
        for fields in ({"session_id": f"{key} "}, {"session_id": "s", "pace_ms": key}):
            await device.say("attach", **fields)
        await device.say("ping")
        await device.wait_for("pong")
        await device.say("auth", token=f"{key}x")
        assert await device.wait_closed() == 4401
        said.append(json.dumps(device.frames))
    async with open_line(await connect(run.server), "/api/codex/ws") as line:
        await line.say(f"{key}x")
        assert await line.text() == "error:invalid_api_key"
    run.words += [("an answer to a stranger", text) for text in said]


async def make_keys(run: Run) -> None:
    """Make devices in every way that there is, use and revoke them."""
    run.secrets["an added device's key"] = added = (await run.command("devices", "add", "iPad")).strip()
    link = (await run.command("devices", "pair")).strip().splitlines()[-1]
    run.secrets["a code of the command"] = link.partition("#pair=")[2]
    async with httpx.AsyncClient(base_url=run.server.url, headers={"X-API-Key": run.server.key}) as http:
        made = (await http.post("/api/devices/pair", json={"name": "phone"})).json()
        run.secrets["a code"] = made["code"]
        for code in (made["code"], run.secrets["a code of the command"]):
            paired = (await http.post("/api/pair", headers={"X-API-Key": code}, json={})).json()
            run.secrets[f"the key of {code[:6]}"] = paired["key"]
            again = await http.post("/api/pair", headers={"X-API-Key": code}, json={})
            run.words.append(("the answer to a used code", again.text))
        files = {"file": ("a.txt", b"abc", "text/plain")}
        upload = (await http.post("/api/files/upload", files=files, headers={"X-API-Key": added})).json()
        run.words.append(("the devices", (await http.get("/api/devices")).text))
        run.words.append(("the figures", (await http.get("/metrics")).text))
        async with open_device(run.server.url, paired["key"]) as device:
            run.words.append(("ready", json.dumps(device.ready)))
            await http.delete(f"/api/devices/{paired['id']}")
            assert await device.wait_closed() == 4401
    async with httpx.AsyncClient() as http:
        assert (await http.get(upload["url"])).text == "abc"
        assert (await http.get(upload["url"] + "x")).status_code == 401
    for arguments in (
        ("sessions", "--url", run.server.url, "--key", WRONG),
        ("send", "secrets", "hi", "--url", run.server.url, "--key", added),
        ("audit",),
        ("audit", "--json"),
        ("doctor", "--verify"),
        ("devices", "list"),
        ("export", "secrets"),
    ):
        run.words.append((f"stdout of {arguments[0]}", await run.command(*arguments)))


async def crash(run: Run, how: signal.Signals) -> None:
    """End the server in the middle of a turn."""
    async with run.server.device() as device:
        await device.attach(f"crash-{how.name}", agent="echo")
        await device.send(f"crash-{how.name}", "/hang")
        await device.wait_for("delivery", state="consumed")
        await run.look_at_processes()
        os.kill(run.server.pid, how)
        await run.server.wait()
        try:
            await device.wait_for("never")
        except Closed:
            return


async def connect(server: Server) -> trio.SocketStream:
    host, _, port = server.url.partition("://")[2].partition(":")
    return await trio.open_tcp_stream(host, int(port))


async def test_a_run_leaves_no_secret(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("s")
    pair = make_pair()
    certificate, key_file = pair.write(tmp_path_factory.mktemp("tls"))
    async with open_server(folder, arguments=("--log-level", "debug")) as server:
        run = Run(server, folder)
        first = run.secrets["the first key"] = server.key
        assert server.banner.count(first) == 1, "it is told once"
        run.words.append(("the banner", server.banner.replace(first, "")))
        await come_in(run)
        await fail_to_come_in(run, WRONG)
        await fail_to_come_in(run, first)
        await make_keys(run)
        await crash(run, signal.SIGKILL)
        await trio.to_thread.run_sync(run.check)
        await server.start()
        run.words.append(("the banner of the second start", server.banner))
        await crash(run, signal.SIGABRT)
        # A key of the environment, and TLS.
        run.secrets["the environment's key"] = OWN
        run.secrets["the key of TLS"] = pair.key.decode().splitlines()[1]
        server.environment = {**server.environment, "BUILDEROS_API_KEY": OWN}
        await server.start("--tls-cert", str(certificate), "--tls-key", str(key_file))
        run.words.append(("the banner of the third start", server.banner))
        async with httpx.AsyncClient(base_url=server.url, verify=pair.trust) as http:
            for key, status in ((OWN, 200), (first, 401)):
                answer = await http.get("/api/devices", headers={"X-API-Key": key})
                assert answer.status_code == status
                run.words.append(("an answer over TLS", answer.text))
        stream = await connect(server)
        await stream.send_all(f"GET /api/status HTTP/1.1\r\nX-API-Key: {OWN}\r\n\r\n".encode())  # no TLS
        await stream.aclose()
        await run.look_at_processes()
        await trio.to_thread.run_sync(run.check)
    left = [path.name for path in run.files() if path.name.startswith("core")]
    assert left == []
