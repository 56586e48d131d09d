"""What holds for both real agents behind a real server: steering, files, control, and what a person allowed."""

from __future__ import annotations

import base64
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psutil
import trio

from tests.app.line import chat, open_line
from tests.e2e.agents import AGENTS, ASKING, FREE, START_S, Agents, bash, begin, end_of, open_agents
from tests.e2e.shared_server import hubs_of, kinds_of_turn, open_http, sha256, story_of, wait_processes_gone
from tests.standin.openai_requests import SeenResponse
from tests.standin.replies import Answer, Reply, Text, ToolUse
from tests.standin.requests import Seen
from tests.standin.rig import eventually
from tests.support.device import Device, Json
from tests.support.server import Server

STEERED = "MARKER-STEERED"


async def test_a_message_goes_into_the_running_turn(place: Path) -> None:
    """From the second device; the model has it with its next request, and the turn is one."""
    async with open_agents(place) as at, at.server.device() as one, at.server.device() as two:
        for agent in AGENTS:
            standin = at.standin(agent)

            def reply(seen: Seen | SeenResponse, agent: str = agent) -> Reply:
                return Answer.of("done" if STEERED in seen.markers else bash(agent, "sleep 0.1"))

            standin.fallback = reply
            await one.attach(agent, agent=agent, settings=FREE)
            await two.attach(agent)
            said = await begin(one, agent, "go")
            await two.wait_for("tool_started", start=0, session_id=agent, limit_s=START_S)
            steered = await begin(two, agent, STEERED, mode="steer")
            assert steered["turn_id"] == said["turn_id"]
            assert (await end_of(one, said["turn_id"]))["type"] == "complete"
            await end_of(two, said["turn_id"])
            assert one.text(agent, said["turn_id"]) == "done"
            states = [
                delivery["state"]
                for delivery in two.events(agent, "delivery")
                if delivery["message_id"] == steered["message_id"]
            ]
            assert states[-2:] == ["consumed", "answered"]
            assert kinds_of_turn(one.events(agent), said["turn_id"])[-1] == "complete"
            assert STEERED in standin.requests[-1].markers
            assert story_of(one.events(agent)).facts == story_of(two.events(agent)).facts


def picture() -> bytes:
    """Return a PNG of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


async def bring(http: httpx.AsyncClient, name: str, data: bytes, kind: str) -> Json:
    answer = await http.post("/api/files/upload", files={"file": (name, data, kind)}, data={"type": "file"})
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def reading(agent: str, seen: Seen | SeenResponse, name: str) -> ToolUse:
    """Return the call by which the model reads the attached file, whose place the message names."""
    [text] = [text for text in seen.user_texts if "Attached files:" in text][-1:]
    path = text.partition(f"- {name}: ")[2].partition("\n")[0]
    return ToolUse("Read", {"file_path": path}) if agent == "claude" else bash(agent, f"cat {path}")


def pictures_of(seen: Seen | SeenResponse) -> list[bytes]:
    if isinstance(seen, Seen):
        return [data for _, data in seen.images]
    return [base64.b64decode(url.partition(",")[2]) for url in seen.images]


def read_and_end(at: Agents, agent: str, name: str) -> None:
    """Have the model read the file of that name, then end."""

    def reply(seen: Seen | SeenResponse) -> Reply:
        return Answer.of("done" if seen.answers_tool else reading(agent, seen, name))

    at.standin(agent).fallback = reply


async def test_files_of_a_device_and_of_the_app_reach_the_agent(place: Path) -> None:
    """A file it may read unasked, a picture as a picture; what only claims to be one does no harm."""
    async with open_agents(place) as at, open_http(at.server) as http, at.server.device() as device:
        for agent in AGENTS:
            text, image, fake = (
                await bring(http, "notes.txt", b"the secret is 42\n", "text/plain"),
                await bring(http, "dot.png", picture(), "image/png"),
                await bring(http, "fake.png", b"no picture", "image/png"),
            )
            read_and_end(at, agent, "notes.txt")
            await device.attach(agent, agent=agent)
            files = [{"url": one["url"]} for one in (text, image, fake)]
            said = await begin(device, agent, "look", attachments=files)
            end = await end_of(device, said["turn_id"])
            assert (end["type"], device.text(agent, end["turn_id"])) == ("complete", "done"), end
            assert device.events(agent, "permission_requested") == []
            assert "the secret is 42" in at.standin(agent).requests[-1].tool_results[-1]
            sent = pictures_of(at.standin(agent).requests[-1])
            assert len(sent) == 1
            assert sent[0].startswith(b"\x89PNG")

            read_and_end(at, agent, "app.txt")
            names = {"app.txt": (b"of the app\n", "text/plain"), "app.png": (picture(), "image/png")}
            told = [(name, await bring(http, name, *what)) for name, what in names.items()]
            end_frame, answer = await ask_as_app(
                at.server, agent, [app_file(name, one, names[name]) for name, one in told]
            )
            assert (end_frame["type"], answer) == ("complete", "done")
            assert "of the app" in at.standin(agent).requests[-1].tool_results[-1]
            assert len(pictures_of(at.standin(agent).requests[-1])) == 1


def app_file(name: str, told: Json, what: tuple[bytes, str]) -> Json:
    """Return an attachment as the shipped app sends it: what the upload answered, and its own guesses."""
    fields = {"id": str(uuid4()).upper(), "filename": name, "mime_type": what[1], "size": len(what[0])}
    return {**fields, "type": "image" if what[1].startswith("image/") else "document", "url": told["url"]}


async def ask_as_app(server: Server, agent: str, attachments: list[Json]) -> tuple[Json, str]:
    """Send one message over the app's old path; return the frame that ended it, and the answer."""
    parts = urlsplit(server.url)
    phone = str(uuid4())
    stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
    with trio.fail_after(START_S):
        async with open_line(stream, f"/api/{agent}/ws") as line:
            await line.sign_in(server.key)
            kind = "jarvis" if agent == "claude" else "codex"
            sid = f"{phone}-{agent}-{uuid4()}"
            await line.say(chat("look", sid, phone, chat_type=kind, attachments=attachments))
            answer, end = await line.exchange()
            return end, answer


async def until_written(files: list[Path]) -> None:
    await eventually(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files))


def programs_of(hub: psutil.Process) -> list[psutil.Process]:
    """Return the agent's own program below a hub: other children are what it left to the hub."""
    found = []
    for child in hub.children():
        with suppress(psutil.Error, OSError):
            if {"app-server", "stream-json"} & set(child.cmdline()):
                found.append(child)
    return found


async def test_an_interrupt_from_the_second_device_ends_the_tree(place: Path) -> None:
    """The tool's command, what it started, and that in a session of its own; the program stays warm."""
    command = "setsid sh -c 'echo $$ > away; exec sleep 300' & echo $$ > here; sleep 300"
    async with open_agents(place) as at, at.server.device() as one, at.server.device() as two:
        for agent in AGENTS:
            await one.attach(agent, agent=agent, settings=FREE)
            await two.attach(agent, device_id="mac")
            files = [at.workspace / "away", at.workspace / "here"]
            for file in files:
                file.unlink(missing_ok=True)
            at.standin(agent).script(Answer.of(bash(agent, command)))
            said = await begin(one, agent, "run it")
            await until_written(files)
            commands = [psutil.Process(int(file.read_text())) for file in files]
            hub = hubs_of(at.server.data)[agent]
            with trio.fail_after(20):
                await two.say("interrupt", session_id=agent)
                stopped = await one.wait_for("interrupted", start=0, turn_id=said["turn_id"])
            assert stopped["by_device"] == "mac"
            await wait_processes_gone(commands)
            programs = programs_of(hub)
            said = await begin(one, agent, "and now?")
            end = await end_of(one, said["turn_id"])
            assert (end["type"], programs_of(hub)) == ("complete", programs)


async def test_a_long_output_is_cut_with_a_link_to_the_whole(place: Path) -> None:
    async with open_agents(place) as at, open_http(at.server) as http, at.server.device() as device:
        for agent in AGENTS:
            await device.attach(agent, agent=agent, settings=FREE)
            at.standin(agent).script(Answer.of(bash(agent, "seq 1 30000")), Answer.of("done"))
            said = await begin(device, agent, "count")
            end = await end_of(device, said["turn_id"])
            assert set(end["usage"]) >= {"input_tokens", "output_tokens", "cached_input_tokens"}
            [finished] = device.events(agent, "tool_finished")
            whole = (await http.get(finished["blob"]["url"])).content
            assert whole.decode().split() == [str(number) for number in range(1, 30001)]
            assert (finished["blob"]["size"], finished["blob"]["sha256"]) == (
                len(whole),
                sha256(whole.decode()),
            )
            assert finished["output"].encode() == whole[: 64 * 1024]
            assert finished["duration_ms"] >= 0


async def decide(device: Device, sid: str, request: Json, decision: str) -> None:
    await device.say("decide", session_id=sid, request_id=request["request_id"], decision=decision)


async def test_what_the_session_allows_is_kept_with_its_author(place: Path) -> None:
    """Decided by the second device, shown to a third, and known to the next hub of the session."""
    async with open_agents(place) as at:
        for agent in AGENTS:
            async with at.server.device() as one, at.server.device() as two:
                await one.attach(agent, agent=agent, device_id="phone", settings=ASKING[agent])
                await two.attach(agent, device_id="mac")
                call = bash(agent, "touch made && echo yes")
                at.standin(agent).script(Answer.of(call), Answer.of("done"))
                said = await begin(one, agent, "make it")
                asked = await two.wait_for("permission_requested", session_id=agent, limit_s=START_S, start=0)
                waiting = await one.attach(agent, device_id="phone")
                assert [one_of["request_id"] for one_of in waiting["pending"]] == [asked["request_id"]]
                await decide(two, agent, asked, "allow_session")
                resolved = await one.wait_for("permission_resolved", start=0, session_id=agent)
                assert (resolved["decision"], resolved["by_device"]) == ("allow_session", "mac")
                assert (await end_of(one, said["turn_id"]))["type"] == "complete"
                await one.say("decide", session_id=agent, request_id=asked["request_id"], decision="deny")
                late = await one.wait_for("rejected")
                assert (late["code"], late["by_device"]) == ("already_resolved", "mac")
        await at.server.terminate()
        await at.server.restart()
        async with at.server.device() as late_one:
            for agent in AGENTS:
                (at.workspace / "made").unlink(missing_ok=True)
                attached = await late_one.attach(agent)
                [grant] = attached["grants"]
                assert grant["by_device"] == "mac"
                assert "touch made" in grant["grant"]
                at.standin(agent).script(Answer.of(bash(agent, "touch made && echo yes")), Answer.of("done"))
                said = await begin(late_one, agent, "once more")
                assert (await end_of(late_one, said["turn_id"]))["type"] == "complete"
                assert (at.workspace / "made").exists()
                asked_again = late_one.events(agent, "permission_requested")
                assert said["turn_id"] not in [asked["turn_id"] for asked in asked_again]


async def test_a_program_killed_in_a_tool_takes_the_commands_along(place: Path) -> None:
    """They would continue by themselves, with nobody who waits for them; the hub stays, and the next turn works."""
    command = "setsid sh -c 'echo $$ > away; exec sleep 300' & echo $$ > here; sleep 300"
    async with open_agents(place) as at, at.server.device() as device:
        for agent in AGENTS:
            await device.attach(agent, agent=agent, settings=FREE)
            files = [at.workspace / "away", at.workspace / "here"]
            for file in files:
                file.unlink(missing_ok=True)
            at.standin(agent).script(Answer.of(bash(agent, command)))
            said = await begin(device, agent, "run it")
            await until_written(files)
            commands = [psutil.Process(int(file.read_text())) for file in files]
            hub = hubs_of(at.server.data)[agent]
            for program in programs_of(hub):
                program.kill()
            end = await end_of(device, said["turn_id"])
            assert (end["type"], end["code"], end["retryable"]) == ("error", "agent_exited", True)
            await wait_processes_gone(commands)
            said = await begin(device, agent, "and now?")
            assert (await end_of(device, said["turn_id"]))["type"] == "complete"
            assert hubs_of(at.server.data)[agent] == hub


async def test_a_program_that_hangs_ends_its_turn(place: Path) -> None:
    """It is stopped in the middle of a word; nothing but time can tell."""
    async with open_agents(place, silence_s=20) as at, trio.open_nursery() as nursery:

        async def hang(agent: str) -> None:
            async with at.server.device() as device:
                await device.attach(agent, agent=agent, settings=FREE)
                gate = trio.Event()
                at.standin(agent).script(Answer.of(Text.of("half a ", gate, "word")))
                said = await begin(device, agent, "go")
                await device.wait_for("message", start=0, limit_s=START_S)
                programs = programs_of(hubs_of(at.server.data)[agent])
                for program in programs:
                    program.suspend()
                end = await device.wait_for("error", turn_id=said["turn_id"], limit_s=60)
                assert (end["code"], end["retryable"]) == ("timeout", True)
                await wait_processes_gone(programs)
                gate.set()
                said = await begin(device, agent, "and now?")
                assert (await end_of(device, said["turn_id"]))["type"] == "complete"

        for agent in AGENTS:
            nursery.start_soon(hang, agent)


async def test_codex_hands_work_to_claude_and_to_an_agent_of_its_own(place: Path) -> None:
    """Both are in the ledger; the question of each comes up in the session, and its words are not the answer."""
    async with open_agents(place) as at, at.server.device() as one, at.server.device() as two:
        await one.attach("trip", agent="codex", settings=ASKING["codex"])
        await two.attach("trip", device_id="mac")
        to_claude = ToolUse("mcp__builderos/delegate", {"agent": "claude", "task": "make it"})
        own = ToolUse("multi_agent_v1/spawn_agent", {"message": "make more"})

        def is_child(seen: SeenResponse) -> bool:
            return seen.thread != at.codex.requests[0].thread

        at.codex.script(Answer.of(bash("codex", "touch more")), Answer.of("more is made"), when=is_child)
        at.codex.script(Answer.of(to_claude), Answer.of(own))
        at.codex.fallback = lambda seen: Answer.of("done ")
        at.claude.script(Answer.of(bash("claude", "touch made")), Answer.of("it is made"))
        said = await begin(one, "trip", "have it made")
        for tool in ("Bash", "shell"):
            asked = await two.wait_for("permission_requested", tool=tool, start=0, limit_s=START_S)
            assert asked["task_id"]
            await decide(two, "trip", asked, "allow")
        end = await end_of(one, said["turn_id"])
        # Codex's model is asked once more where its agent ends before its answer does.
        assert set(one.text("trip", said["turn_id"]).split()) == {"done"}
        assert end["type"] == "complete"
        assert (at.workspace / "made").exists()
        assert (at.workspace / "more").exists()
        async with open_http(at.server) as http:
            tasks = (await http.get("/api/sessions/trip/tasks")).json()["tasks"]
        told = [(task["agent_type"], task["title"], task["state"], task["result"]) for task in tasks]
        assert told == [
            ("claude", "make it", "succeeded", "it is made"),
            ("agent", "make more", "succeeded", "more is made"),
        ]
