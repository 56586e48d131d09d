"""What any machine lists of another one: itself, its folders, the conversations of its own programs; and the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import trio

from tests.bridgehub.desk.transcripts import Transcript, uid
from tests.e2e.shared_server import open_http
from tests.postgres.nodes.pair import KEY, open_pair
from tests.support.server import ROOT, Server

ONE = uid(1 << 100)


def home_of(server: Server) -> Path:
    return server.data.parent / "home"


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def run(server: Server, *words: str) -> tuple[int, str]:
    """Run a command against a node; return its exit status and all that it printed."""
    command = [sys.executable, "-m", "builderos", *words, "--url", server.url, "--key", KEY]
    done = await trio.run_process(
        command, capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=ROOT
    )
    return done.returncode, done.stdout.decode()


async def test_folders_and_conversations_of_another_machine(url: str) -> None:
    """They are those that it lists itself; one that is opened is made there. It is away once it is killed."""
    async with (
        open_pair(url) as nodes,
        open_http(nodes.a) as at_a,
        open_http(nodes.b) as at_b,
        nodes.a.device() as here,
    ):
        (home_of(nodes.b) / "project").mkdir()
        said = Transcript()
        said.user("plan a trip")
        said.says("Where to?")
        said.write(home_of(nodes.b) / ".claude", ONE)
        for path in ("/api/folders", "/api/desk/sessions"):
            own = (await at_b.get(path)).json()
            assert (await at_a.get(path, params={"node": "b"})).json() == own
            assert (await at_a.get(path)).json() != own
            assert (await at_a.get(path, params={"node": "a"})).json() == (await at_a.get(path)).json()
            assert code(await at_a.get(path, params={"node": "c"})) == (404, "unknown_node")
        status = (await at_a.get("/api/status", params={"node": "b"})).json()
        assert status["workspace"]["path"] == str(home_of(nodes.b))
        assert "project" in [one["name"] for one in (await at_b.get("/api/folders")).json()["folders"]]
        open_one = f"/api/desk/sessions/claude/{ONE}/open"
        assert code(await at_a.post(open_one)) == (404, "not_found")
        made = await at_a.post(open_one, params={"node": "b"})
        assert made.status_code == 201, made.text
        attached = await here.attach(made.json()["session_id"])
        assert (attached["machine"]["id"], attached["settings"]["workspace"]) == ("b", "/work/trip")
        assert (await at_a.post(open_one, params={"node": "b"})).status_code == 200
        await nodes.b.kill9()
        with trio.fail_after(15):
            while (last := await at_a.get("/api/folders", params={"node": "b"})).status_code != 503:
                pass
        assert code(last) == (503, "machine_away")
        assert code(await at_a.post(open_one, params={"node": "b"})) == (503, "machine_away")
        assert code(await at_a.get("/api/desk/sessions", params={"node": "b"})) == (503, "machine_away")


async def test_commands_list_the_machines_and_move_a_session(url: str) -> None:
    config = '[database]\nnode_name = "Mac mini"\n'
    async with open_pair(url, config=config) as nodes, open_http(nodes.b) as http, nodes.a.device() as here:
        await here.attach("trip", agent="echo")
        await here.attach("other", agent="echo", settings={"node": "b"})
        with trio.fail_after(10):  # a beat says how many are connected
            while (found := (await http.get("/api/nodes")).json()["nodes"])[0]["connections"] != 1:
                pass
        version = found[0]["version"]
        assert found == [
            {
                "id": "a",
                "name": "Mac mini",
                "state": "there",
                "version": version,
                "sessions": 1,
                "connections": 1,
            },
            {
                "id": "b",
                "name": "Mac mini",
                "state": "here",
                "version": version,
                "sessions": 1,
                "connections": 0,
            },
        ]
        status, printed = await run(nodes.b, "nodes")
        assert (status, [line.split() for line in printed.splitlines()]) == (
            0,
            [
                ["ID", "NAME", "STATE", "VERSION", "SESSIONS", "CONNECTIONS"],
                ["a", "Mac", "mini", "there", version, "1", "1"],
                ["b", "Mac", "mini", "here", version, "1", "0"],
            ],
        )
        status, printed = await run(nodes.a, "sessions", "move", "trip", "--to", "b")
        assert status == 1
        assert "Make that folder on b first, or use force." in printed
        status, printed = await run(nodes.a, "sessions", "move", "trip", "--to", "b", "--force")
        assert (status, printed) == (0, "Session trip moved to b.\n")
        status, printed = await run(nodes.a, "sessions", "move", "trip", "--to", "b")
        assert (status, printed) == (0, "Session trip is at b.\n")
        status, printed = await run(nodes.a, "sessions", "move", "trip", "--to", "c")
        assert status == 1
        assert "There is no machine c here." in printed
        assert (await run(nodes.a, "sessions", "move", "trip"))[0] == 2
        status, printed = await run(nodes.a, "sessions", "--limit", "1")
        assert len(printed.splitlines()) == 2
