"""A stand-in for the model service of Claude Code: a small HTTP/1.1 server on loopback that streams scripted
answers.

In a test::

    async with open_standin() as standin:
        standin.script(Answer.of("Hello ", "there"))
        ...                       # drive the real program with `standin_env(standin.url, home)`
        assert "hello" in standin.requests[0].user_texts

As a process, for end-to-end tests and demos: `python -m tests.standin.anthropic --port 0` prints its URL on a
line and answers by `default_reply` until it is ended.

Requests that the program makes for itself (titles, checks) get an answer of their own and consume no script.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import h11
import orjson
import trio

from tests.standin.replies import (
    Answer,
    Broken,
    Failure,
    Hang,
    Reply,
    Text,
    ToolUse,
    stream_answer,
    whole_answer,
)
from tests.standin.requests import Seen

__all__ = ["StandIn", "default_reply", "main", "open_standin", "serve_standin", "standin_env"]

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A request's body over this is refused; the program sends whole conversations."""

_SIDE = Answer.of("aside")


def default_reply(seen: Seen) -> Reply:
    """Answer by what was asked, for the stand-in as a process.

    `words N` streams `w0 w1 …`; `bash COMMAND` calls the Bash tool and tells its result; anything else is
    answered by a line that tells how many messages of a person the request holds, and the markers in it.
    """
    last = seen.user_texts[-1] if seen.user_texts else ""
    verb, _, rest = last.strip().partition(" ")
    if seen.answers_tool:
        return Answer.of("standin: the tool said ", seen.tool_results[-1])
    if verb == "words" and rest.isdecimal():
        return Answer((Text(tuple(f"w{i} " for i in range(int(rest)))),))
    if verb == "bash" and rest:
        return Answer.of(ToolUse("Bash", {"command": rest, "description": "Asked by the person"}))
    told = f"{len(seen.user_texts)} user messages; last: {last}; markers: {' '.join(seen.markers) or 'none'}"
    return Answer.of(Text.of("standin: ", told))


@attrs.define(eq=False)
class StandIn:
    """See the module. `requests` are those that ask for an answer, side requests left out."""

    url: str
    requests: list[Seen] = attrs.field(factory=list)
    side_requests: list[Seen] = attrs.field(factory=list)
    other_calls: list[str] = attrs.field(factory=list)
    fallback: Callable[[Seen], Reply] = default_reply
    _script: list[tuple[Callable[[Seen], bool], Reply]] = attrs.field(factory=list)
    _news: trio.Event = attrs.field(factory=trio.Event)

    def script(self, *replies: Reply, when: Callable[[Seen], bool] = lambda seen: True) -> None:
        """Answer the next requests by these, each once, in order; `when` picks the requests."""
        self._script.extend((when, reply) for reply in replies)

    def forget_script(self) -> None:
        """Drop what no request has taken."""
        self._script.clear()

    async def request(self, number: int) -> Seen:
        """Wait until that many requests (from 1) have come; return that one."""
        await trio.lowlevel.checkpoint()
        while len(self.requests) < number:
            await self._news.wait()
        return self.requests[number - 1]

    def take(self, body: dict[str, Any]) -> tuple[Seen, Reply]:
        """Note a request and choose its reply."""
        seen = Seen(len(self.requests) + len(self.side_requests) + 1, body)
        if seen.is_side:
            self.side_requests.append(seen)
            return seen, _SIDE
        self.requests.append(seen)
        self._news.set()
        self._news = trio.Event()
        for index, (when, reply) in enumerate(self._script):
            if when(seen):
                del self._script[index]
                return seen, reply
        return seen, self.fallback(seen)


@asynccontextmanager
async def open_standin(
    *, port: int = 0, fallback: Callable[[Seen], Reply] = default_reply
) -> AsyncIterator[StandIn]:
    """Serve on loopback while inside the block; open connections are cut at its end."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        standin = StandIn(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", fallback=fallback)
        await nursery.start(partial(trio.serve_listeners, partial(_serve_connection, standin), listeners))
        yield standin
        nursery.cancel_scope.cancel(reason="the stand-in's block is over")


async def serve_standin(port: int) -> None:
    """Print the address, then serve until cancelled."""
    async with open_standin(port=port) as standin:
        print(standin.url, flush=True)
        await trio.sleep_forever()


def standin_env(url: str, home: str) -> dict[str, str]:
    """Return the whole environment of a program that shall talk to the stand-in and to nobody else."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "standin-key",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HOME": home,
        "IS_SANDBOX": "1",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }


@attrs.define(eq=False)
class _Wire:
    """One connection: h11 over a stream."""

    stream: trio.SocketStream
    state: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER))

    async def next_event(self) -> Any:
        await trio.lowlevel.checkpoint()
        while True:
            event = self.state.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.state.receive_data(await self.stream.receive_some())

    async def send(self, event: Any) -> None:
        data = self.state.send(event)
        if data:
            await self.stream.send_all(data)
        else:
            await trio.lowlevel.checkpoint()

    async def respond(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        head = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
        await self.send(h11.Response(status_code=status, headers=head))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())


async def _serve_connection(standin: StandIn, stream: trio.SocketStream) -> None:
    """Serve one connection to its end; a peer that breaks off or sends nonsense ends only its own."""
    wire = _Wire(stream)
    try:
        while True:
            request = await wire.next_event()
            if not isinstance(request, h11.Request):
                return
            await _serve_request(standin, wire, request)
            if wire.state.our_state is not h11.DONE or wire.state.their_state is not h11.DONE:
                return
            wire.state.start_next_cycle()
    except (trio.BrokenResourceError, h11.ProtocolError):
        await trio.lowlevel.checkpoint()
    finally:
        await trio.aclose_forcefully(stream)


async def _serve_request(standin: StandIn, wire: _Wire, request: h11.Request) -> None:
    await trio.lowlevel.checkpoint()
    body = bytearray()
    while isinstance(event := await wire.next_event(), h11.Data):
        body += event.data
        if len(body) > MAX_BODY_BYTES:
            await wire.respond(413, _error("request_too_large", "too large"), ("connection", "close"))
            return
    method, target = request.method.decode(), request.target.decode()
    path = target.partition("?")[0]
    if (method, path) == ("POST", "/v1/messages"):
        await _serve_messages(standin, wire, bytes(body))
        return
    standin.other_calls.append(f"{method} {target}")
    if (method, path) == ("POST", "/v1/messages/count_tokens"):
        await wire.respond(200, b'{"input_tokens":10}')
    elif (method, path) == ("HEAD", "/"):
        await wire.respond(200, b"")
    else:
        await wire.respond(404, _error("not_found_error", f"no {path} here"))


async def _serve_messages(standin: StandIn, wire: _Wire, body: bytes) -> None:
    await trio.lowlevel.checkpoint()
    seen, reply = standin.take(orjson.loads(body))
    match reply:
        case Hang():
            await trio.sleep_forever()
        case Failure(status, kind, message, retry_after_s):
            again = () if retry_after_s is None else (("retry-after", f"{retry_after_s:g}"),)
            await wire.respond(status, _error(kind, message), *again)
        case Broken(answer):
            await _stream(wire, seen, answer, is_whole=False)
            raise h11.LocalProtocolError("the connection breaks here")
        case Answer() if seen.body.get("stream"):
            await _stream(wire, seen, reply)
        case Answer():
            await wire.respond(200, orjson.dumps(whole_answer(reply, number=seen.number, model=seen.model)))


async def _stream(wire: _Wire, seen: Seen, answer: Answer, *, is_whole: bool = True) -> None:
    head = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
    await wire.send(h11.Response(status_code=200, headers=head))
    for event in stream_answer(answer, number=seen.number, model=seen.model):
        if isinstance(event, trio.Event):
            await event.wait()
        elif not is_whole and event["type"] == "content_block_stop":
            return
        else:
            line = b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
            await wire.send(h11.Data(data=line))
    await wire.send(h11.EndOfMessage())


def _error(kind: str, message: str) -> bytes:
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})


def main() -> None:
    """Run as a process until ended; the only line on stdout is the URL."""
    parser = argparse.ArgumentParser(description="A stand-in for the model service, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    try:
        trio.run(serve_standin, arguments.port)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
