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
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import takewhile
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
from tests.standin.wire import Call, Script, Wire, listen

__all__ = ["StandIn", "default_reply", "main", "open_standin", "serve_standin", "standin_env"]

_SIDE = Answer.of("aside")


def default_reply(seen: Seen) -> Reply:
    """Answer by what was asked, for the stand-in as a process.

    `words N` streams `w0 w1 …`; `bash COMMAND` calls the Bash tool and repeats its result; anything else is
    answered by a line that says how many messages of a person the request holds, and the markers in it.
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
class StandIn(Script[Seen]):
    """A stand-in for the model service. `requests` are those that ask for an answer, side requests left out."""

    fallback: Callable[[Seen], Reply] = default_reply
    url: str = ""
    side_requests: list[Seen] = attrs.field(factory=list)
    other_calls: list[str] = attrs.field(factory=list)

    def take(self, body: dict[str, Any]) -> tuple[Seen, Reply]:
        """Note a request and choose its reply."""
        seen = Seen(len(self.requests) + len(self.side_requests) + 1, body)
        if seen.is_side:
            self.side_requests.append(seen)
            return seen, _SIDE
        return seen, self.choose(seen)


@asynccontextmanager
async def open_standin(
    *, port: int = 0, fallback: Callable[[Seen], Reply] = default_reply
) -> AsyncIterator[StandIn]:
    """Serve on loopback while inside the block; open connections are cut at its end."""
    standin = StandIn(fallback=fallback)
    async with listen(port, partial(_answer, standin)) as standin.url:
        yield standin


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


async def _answer(standin: StandIn, wire: Wire, call: Call) -> None:
    if (call.method, call.path) == ("POST", "/v1/messages"):
        await _serve_messages(standin, wire, call.body)
        return
    standin.other_calls.append(f"{call.method} {call.target}")
    if (call.method, call.path) == ("POST", "/v1/messages/count_tokens"):
        await wire.respond(200, b'{"input_tokens":10}')
    elif (call.method, call.path) == ("HEAD", "/"):
        await wire.respond(200, b"")
    else:
        await wire.respond(404, _error("not_found_error", f"no {call.path} here"))


async def _serve_messages(standin: StandIn, wire: Wire, body: bytes) -> None:
    await trio.lowlevel.checkpoint()
    seen, reply = standin.take(orjson.loads(body))
    match reply:
        case Hang():
            await trio.sleep_forever()
        case Failure(status, kind, message):
            await wire.respond(status, _error(kind, message, reply.more), *reply.all_headers)
        case Broken(answer, told):
            await wire.stream_events(_broken_events(seen, answer, told))
            if not told:
                raise h11.LocalProtocolError("the connection breaks here")
            await wire.send(h11.EndOfMessage())
        case Answer() if seen.body.get("stream"):
            await wire.stream_events(stream_answer(reply, number=seen.number, model=seen.model))
            await wire.send(h11.EndOfMessage())
        case Answer():
            await wire.respond(200, orjson.dumps(whole_answer(reply, number=seen.number, model=seen.model)))


def _broken_events(seen: Seen, answer: Answer, told: str) -> Iterator[dict[str, Any] | trio.Event]:
    events = stream_answer(answer, number=seen.number, model=seen.model)
    yield from takewhile(partial(_is_before_stop, len(answer.blocks) - 1), events)
    if told:
        yield orjson.loads(_error(told, "told in mid-stream"))


def _is_before_stop(last_index: int, event: dict[str, Any] | trio.Event) -> bool:
    if isinstance(event, trio.Event):
        return True
    return (event["type"], event.get("index")) != ("content_block_stop", last_index)


def _error(kind: str, message: str, more: dict[str, Any] | None = None) -> bytes:
    error = {"type": kind, "message": message} | (more or {})
    return orjson.dumps({"type": "error", "error": error})


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
