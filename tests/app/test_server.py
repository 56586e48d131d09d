"""The app on a real server with the test agent, beside devices of version 3 and the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import trio

from tests.app.app_server import Phones, open_phone
from tests.app.emulation import Profile
from tests.app.line import Line, chat, open_line
from tests.e2e.shared_server import ENDLESS, end_turn, words_of
from tests.support.server import Server, open_server

CONFIG = """
permission_timeout_s = 2.5
[agents.claude]
kind = "echo"
[agents.codex]
kind = "echo"
"""

LIMIT_S = 60.0


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with open_server(tmp_path_factory.mktemp("p"), config=CONFIG) as running:
        yield running


async def connect(server: Server) -> trio.abc.Stream:
    parts = urlsplit(server.url)
    return await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)


@asynccontextmanager
async def app(server: Server, agent: str = "claude", *, key: bool = True) -> AsyncIterator[Line]:
    async with open_line(await connect(server), f"/api/{agent}/ws") as line:
        if key:
            await line.sign_in(server.key)
        yield line


def ids(agent: str = "claude") -> tuple[str, str]:
    phone = str(uuid4())
    return f"{phone}-{agent}-{uuid4()}", phone


async def transcript(server: Server, session_id: str) -> list[tuple[str, str, str]]:
    headers = {"X-API-Key": server.key}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        answer = (await http.get(f"/api/sessions/{session_id}/messages")).json()
    return [(one["role"], one["content"], one["status"]) for one in answer["messages"]]


@asynccontextmanager
async def phone_of(server: Server, profile: Profile, session_id: str, phone: str) -> AsyncIterator[Phones]:
    async def to_server() -> trio.abc.Stream:
        return await connect(server)

    async with open_phone(
        to_server, profile, session_id=session_id, device_id=phone, key=server.key
    ) as phones:
        yield phones


@contextlib.contextmanager
def limit() -> Iterator[None]:
    with trio.fail_after(LIMIT_S):
        yield


async def test_phones_on_a_real_server(server: Server) -> None:
    """Several at once: double connect, 4,000 characters as fast as the agent can, both paths."""
    results: list[tuple[str, list[bool], list[str]]] = []
    answer = "".join(f"w{number} " for number in range(800))

    async def one(profile: Profile) -> None:
        session_id, phone = ids(profile.chat_type)
        async with phone_of(server, profile, session_id, phone) as phones:
            phones.phone.new_tab()
            await phones.until(lambda: len(phones.phone.ready_after) == 2)
            assert phones.phone.bubbles == []
            phones.phone.type("/words 800 0")
            phones.touch()
            await phones.until(lambda: phones.phone.completes == 1 and len(phones.phone.seen) >= len(answer))
            results.append((phones.phone.seen, phones.phone.ready_after, phones.phone.errors))

    with limit():
        async with trio.open_nursery() as nursery:
            for number in range(8):  # two sockets each: as many as may wait from one address
                nursery.start_soon(one, Profile.claude() if number % 2 else Profile.codex())
    assert results == [(answer, [True, True], [])] * 8


async def test_a_session_reads_the_same_everywhere(server: Server) -> None:
    session_id, phone = ids()
    with limit():
        async with app(server) as line, server.device() as mac:
            await line.say(chat("from the phone", session_id, phone))
            assert (await line.exchange())[0] == "echo: from the phone "
            alias = (await mac.attach(session_id, device_id="mac"))["session_id"]
            assert alias.startswith("ios-")
            await mac.say("send", session_id=session_id, message_id="m1", content="from the mac")
            await line.frame("peer_complete")
            told = [text for _, text in line.texts if '"peer_' in text]
            assert any("from the mac" in text for text in told)
            async with server.device() as terminal:
                await terminal.attach(session_id, device_id="terminal")
                await line.say(chat("again", session_id, phone))
                assert (await line.exchange())[0] == "echo: again "
                await mac.wait_for("complete", session_id=alias)
        assert await transcript(server, session_id) == [
            *[("user", "from the phone", "answered"), ("assistant", "echo: from the phone ", "complete")],
            *[("user", "from the mac", "answered"), ("assistant", "echo: from the mac ", "complete")],
            *[("user", "again", "answered"), ("assistant", "echo: again ", "complete")],
        ]


async def test_decisions_return_and_the_rest(server: Server) -> None:
    session_id, phone = ids()
    with limit():
        async with app(server) as line:
            await line.say(chat("/ask may I", session_id, phone))
            text, end = await line.exchange()
            assert "practice" in text
            assert "may I" in text
            await line.say(chat("Allow", session_id, phone))
            text, end = await line.exchange()
            assert (text.strip(), end["type"]) == ("allowed", "complete")
            await line.say(chat("/ask again", session_id, phone))
            await line.exchange()
            # nobody answers: after the time limit it is a denial, and the end has the whole
            text, end = await line.exchange()
            assert (text.strip(), end["type"]) == ("denied", "complete")
            await line.say(chat("yes", session_id, phone))
            assert (await line.exchange())[0] == "already decided by time-limit"
            await line.say(chat(ENDLESS, session_id, phone))
            seen = (await line.frame("message"))["content"]
            await line.drop()
        await server.kill9()
        await server.restart()
        async with server.device() as mac:
            alias = (await mac.attach(session_id))["session_id"]
            end = await end_turn(mac, alias)
            words = {f"w{number}" for number in range(words_of(mac.text(alias, end["turn_id"])))}
        async with app(server, key=False) as line:
            await line.say(chat("next", session_id, phone))
            assert await line.text() == "authenticated"
            text, end = await line.exchange()
            rest, _, answer = text.rpartition("\n\n[The answer to this message:]\n\n")
            assert answer == "echo: next "
            assert words <= set((seen + " " + rest).split())
        assert len(await transcript(server, session_id)) == 8


async def test_a_shutdown_and_a_wrong_key(server: Server) -> None:
    with limit():
        async with app(server, key=False) as line:
            await line.say("no key of ours")
            assert await line.text() == "error:invalid_api_key"
            assert await line.closed() == 1000
        async with app(server, "codex") as line:
            await server.terminate()
            assert await line.closed() == 1001
        await server.restart()


def test_the_config_is_read(tmp_path: Path) -> None:
    from builderos.config import ConfigError, parse_config

    made = parse_config("permission_timeout_s = 60\n[app]\nresume_without_key = false\n")
    assert (made.app.resume_without_key, made.permission_timeout_s) == (False, 60.0)
    assert parse_config("").permission_timeout_s is None
    for text, key in (
        ("[app]\nresume_without_key = 1\n", "app.resume_without_key"),
        ("[app]\nresume = true\n", "app.resume"),
        ("permission_timeout_s = 0\n", "permission_timeout_s"),
        ('permission_timeout_s = "x"\n', "permission_timeout_s"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_config(text)
        assert caught.value.key == key
