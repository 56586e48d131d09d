"""Forms that are none, and lies about their length: a file is kept where the answer is 200, and else nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import trio

from tests.security.fuzzing import SEED, exchange, unhurt
from tests.security.guarded_server import KEYS, Guarded
from tests.security.mutations import spoiled_many

FORM: Final = (
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
    b'abcdefgh\r\n--B\r\nContent-Disposition: form-data; name="type"\r\n\r\ncode\r\n--B--\r\n'
)


def upload(form: bytes, told: object, more: str = "") -> bytes:
    head = (
        f"POST /api/files/upload HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEYS['drive']}\r\n{more}"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {told}\r\n\r\n"
    )
    return head.encode() + form


LIES: Final = (
    *(0, 1, len(FORM) - 1, len(FORM) + 1, 10 * len(FORM), 49_999_999, 50_000_001, 10**18, 10**30),
    *("-1", "+5", "0x10", "1e3", "", " ", "1,1", "٣", "five"),
)
"""What a request may say of its length that is not so."""


def uploads() -> Iterable[bytes]:
    yield upload(FORM, len(FORM))
    for told in LIES:
        yield upload(FORM, told)
    yield upload(FORM, len(FORM), "Content-Length: 5\r\n")
    yield upload(FORM, len(FORM), "Transfer-Encoding: chunked\r\n")
    for _, form in spoiled_many([FORM], 150, SEED):
        yield upload(form, len(form))
    sound = upload(FORM, len(FORM))
    yield from (data for _, data in spoiled_many([sound], 60, SEED))


async def test_spoiled_uploads_leave_nothing(guarded: Guarded) -> None:
    """A file is kept where the answer is 200, and else nothing of it: no file, no row."""
    answers: list[bytes] = []
    limit = trio.CapacityLimiter(4)
    known = set((await trio.to_thread.run_sync(guarded.state))["uploads"])

    async def one(data: bytes) -> None:
        async with limit:
            answers.append(await exchange(guarded, data))

    async with unhurt(guarded, "uploads", "upload", "uploads"):
        async with trio.open_nursery() as nursery:
            for data in uploads():
                nursery.start_soon(one, data)
        kept = [json.loads(got.partition(b"\r\n\r\n")[2]) for got in answers if got[9:12] == b"200"]
        names = {one["path"].removeprefix("/uploads/") for one in kept if "path" in one}
        assert len(names) > 1
        while True:  # who broke off is noticed after our end of it
            state = await trio.to_thread.run_sync(guarded.state)
            found = {path.rpartition("/")[2] for path in set(state["uploads"]) - known}
            if found == names:
                break
            await trio.sleep(0.02)
    assert {row[0] for row in state["upload"]} >= names
    assert len(state["upload"]) == len(state["uploads"])
