"""What the black-box tests share: one server for many of them, and views of a journal that can be compared."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import attrs
import httpx
import psutil
import trio

from tests.support.device import TURN_ENDS, Device, Json, open_device
from tests.support.server import ROOT, processes_of

__all__ = [
    "ENDLESS",
    "HEARTBEAT_S",
    "Place",
    "Shared",
    "Story",
    "all_events",
    "end_turn",
    "hubs_of",
    "kinds_of_turn",
    "open_http",
    "run_shared",
    "sha256",
    "story_of",
    "story_up_to",
    "wait_processes_gone",
    "words_of",
]

HEARTBEAT_S = 0.25
"""Of the shared server: short, so that a test of heartbeats is."""

PIECES = ("message", "thinking")

ENDLESS = "/words 100000 5"
"""A turn that waits for its test: it continues until it is interrupted (`end_turn`)."""


class Place(Protocol):
    """Where a server is, as a client has to know it."""

    @property
    def url(self) -> str: ...

    @property
    def key(self) -> str: ...


@attrs.frozen
class Shared:
    """The server that many tests use, each with sessions of its own."""

    url: str
    key: str
    data: Path

    def device(self, **how: bool | str) -> AbstractAsyncContextManager[Device]:
        """Return a device that is signed in."""
        return open_device(self.url, self.key, **how)  # type: ignore[arg-type]


@contextmanager
def run_shared(folder: Path, more: str = "", heartbeat_s: float = HEARTBEAT_S) -> Iterator[Shared]:
    """Run the shared server; at the end nothing of it is left, else an AssertionError. `more`: of its config."""
    data, config = folder / "data", folder / "config.toml"
    config.write_text(f"heartbeat_s = {heartbeat_s}\n{more}")
    home = folder / "home"
    home.mkdir()
    command = [sys.executable, "-m", "builderos", "serve", "--port", "0", "--data", str(data)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    with (folder / "stderr.log").open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--config", str(config), "--workspace", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment | {"TEST_DATA_FOLDER": str(data)},
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        with process.stdout as banner:
            url = _address(banner, folder)
            yield Shared(url, (data / "api-key").read_text().strip(), data)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0, (folder / "stderr.log").read_text()
            assert psutil.wait_procs(processes_of(data), timeout=10)[1] == []
    finally:
        process.kill()
        process.wait()
        for left in processes_of(data):
            left.kill()


def _address(banner: Iterable[bytes], folder: Path) -> str:
    for line in banner:
        if line.startswith(b"Listening on "):
            return line.decode().removeprefix("Listening on ").strip()
    raise AssertionError((folder / "stderr.log").read_text())


@asynccontextmanager
async def open_http(place: Place, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client with the first device's key in `X-API-Key`, or with `key`; an empty one is left out."""
    used = place.key if key is None else key
    headers = {"X-API-Key": used} if used else {}
    async with httpx.AsyncClient(base_url=place.url, headers=headers, timeout=10) as client:
        yield client


async def all_events(http: httpx.AsyncClient, session_id: str, limit: int = 500) -> list[Json]:
    """Return a session's whole journal, a page after the other."""
    events: list[Json] = []
    after: object = 0
    while after is not None:
        answer = await http.get(
            f"/api/sessions/{session_id}/events", params={"after_seq": str(after), "limit": limit}
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["events"]) <= limit
        events += page["events"]
        after = page["next_after"]
    return events


@attrs.frozen
class Story:
    """A journal as its meaning is: independent of how pieces were joined.

    Attributes:
        covered: how many positions its frames cover, one after the other from `first` on.
        first: the first of them.
        facts: all events but pieces.
        blocks: the text of each block, by turn and block, in order of appearance.
    """

    first: int
    covered: int
    facts: tuple[Json, ...]
    blocks: tuple[tuple[str, str, str, str], ...]

    def text(self, turn_id: str) -> str:
        """Return a turn's answer."""
        return "".join(text for kind, turn, _, text in self.blocks if kind == "message" and turn == turn_id)


def story_of(frames: Iterable[Json]) -> Story:
    """Read frames of one session, in order; an AssertionError where they have a gap or double anything."""
    facts: list[Json] = []
    blocks: dict[tuple[str, str, str], str] = {}
    first = position = -1
    for frame in frames:
        seq: int = frame["seq"]
        start: int = frame.get("first_seq", seq)
        if position < 0:
            first, position = start, start - 1
        assert start <= position + 1 <= seq, f"{start}-{seq} after {position}"
        position = seq
        if frame["type"] not in PIECES:
            assert start == seq
            facts.append(frame)
            continue
        name = (frame["type"], frame["turn_id"], frame["block"])
        known = blocks.get(name, "")
        assert frame["offset"] <= len(known)
        again = known[frame["offset"] :]
        assert frame["content"].startswith(again), "a device saw a text that the journal has not"
        blocks[name] = known[: frame["offset"]] + frame["content"]
    assert first > 0, "there is no event"
    told = tuple((*name, text) for name, text in blocks.items())
    return Story(first, position - first + 1, tuple(facts), told)


async def story_up_to(device: Device, session_id: str, seq: int, *, seen: Iterable[Json] = ()) -> Story:
    """Return what a device saw of a session up to an event, waiting for that. `seen`: on earlier connections.

    A turn's end is not the last event: `checkpoint` follows when the workspace is saved.
    """
    await device.wait_for(
        lambda frame: (
            "epoch" in frame and frame.get("session_id") == session_id and frame.get("seq", 0) >= seq
        ),
        start=0,
    )
    return story_of(frame for frame in (*seen, *device.events(session_id)) if frame["seq"] <= seq)


def kinds_of_turn(frames: Iterable[Json], turn_id: str) -> list[str]:
    """Return the kinds of a turn's events, deliveries with their state, runs of pieces as one."""
    kinds: list[str] = []
    for frame in frames:
        if frame.get("turn_id") != turn_id or "seq" not in frame:
            continue
        kind: str = frame["type"]
        if kind == "delivery":
            kind = f"d:{frame['state']}"
        if kind not in PIECES or not kinds or kinds[-1] != kind:
            kinds.append(kind)
    ends = [kind for kind in kinds if kind in TURN_ENDS]
    assert len(ends) <= 1, f"several ends: {kinds}"
    return kinds


async def end_turn(device: Device, session_id: str) -> Json:
    """End a session's turn; return its last event."""
    await device.say("interrupt", session_id=session_id)
    return await device.wait_for("interrupted", session_id=session_id)


def words_of(text: str) -> int:
    """Return how many words of `/words` a text has; an AssertionError if one is missing or double."""
    words = text.split()
    assert words == [f"w{number}" for number in range(len(words))]
    return len(words)


def sha256(text: str) -> str:
    """Return the hash in a turn's end."""
    return hashlib.sha256(text.encode()).hexdigest()


def hubs_of(data: Path) -> dict[str, psutil.Process]:
    """Return the living hub processes of a data folder by their sessions."""
    found = {}
    for path in (data / "hubs").glob("*/pid"):
        told = json.loads(path.read_bytes())
        try:
            found[told["session_id"]] = psutil.Process(told["pid"])
        except psutil.NoSuchProcess:
            continue
    return found


async def wait_processes_gone(processes: Iterable[psutil.Process], limit_s: float = 40.0) -> None:
    """Wait until none of them runs; TooSlowError where one does. A zombie has ended."""
    waiting = list(processes)

    def look() -> list[psutil.Process]:
        return [one for one in psutil.wait_procs(waiting, timeout=0.02)[1] if not _is_zombie(one)]

    with trio.fail_after(limit_s):  # noqa: ASYNC912 - nothing to wait for where there are no processes
        while waiting:
            waiting = await trio.to_thread.run_sync(look)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
