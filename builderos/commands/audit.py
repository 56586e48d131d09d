"""`builderos audit`: sign-ins, failed sign-ins and what each device did, from the audit and the journals."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import attrs
import orjson
import trio

from actors.events.codec import decode_row
from actors.events.conversation import Delivery, Interrupted, UserMessage
from actors.events.permissions import PermissionResolved
from builderos.client.moments import past_ms
from builderos.client.terminal import one_line, write_json
from builderos.exit_status import MISUSED, OK, fail
from builderos.ids import wall_clock_ms
from storage.aliases import Aliases
from storage.data_folder import DATABASE_NAME
from storage.errors import StorageCorrupt, StorageError
from storage.read_only import Reading, open_folder
from storage.tables.activity import ActRow
from storage.tables.hash_chain import AuditRow, Mark
from storage.tables.notifications.changes import START
from transport.v3.events import timestamp

__all__ = [
    "KINDS",
    "AuditLine",
    "add_audit",
    "json_line",
    "line_of_act",
    "line_of_row",
    "run_audit",
    "text_line",
]


def run_audit(data: Path, session_id: str | None, since: str | None, *, as_json: bool) -> int:
    """Write the acts to stdout, oldest first; return the exit status."""
    since_ms = 0 if since is None else past_ms(since, wall_clock_ms())
    if since_ms is None:
        return fail(f"--since: {since} is not a time like 2026-01-31, 2026-01-31T12:00 or 24h", MISUSED)
    try:
        trio.run(_write, data, _Asked(session_id, since_ms, as_json))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe. The interpreter's own flush at exit must not hit it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return fail("the reader closed the output too early")
    except StorageError as error:
        return fail(str(error))
    return OK


@attrs.frozen
class _Asked:
    session_id: str | None
    since_ms: int
    as_json: bool

    def wants(self, line: AuditLine, aliases: Aliases) -> bool:
        asked, found = (id_ and aliases.session(id_) for id_ in (self.session_id, line.session_id))
        return (asked is None or found == asked) and line.at_ms >= self.since_ms


@attrs.define(eq=False)
class _Writer:
    """Writes the wanted lines as they come."""

    asked: _Asked
    names: Mapping[str, str]
    aliases: Aliases

    def put(self, line: AuditLine | None) -> None:
        """Write a line, if it is wanted."""
        if line is None or not self.asked.wants(line, self.aliases):
            return
        if self.asked.as_json:  # the row as hashed, perhaps with an older version's ids
            write_json(json_line(line, self.names).decode())
            return
        if line.session_id is not None:
            line = attrs.evolve(line, session_id=self.aliases.session(line.session_id))
        sys.stdout.write(text_line(line, self.names))


async def _write(data: Path, asked: _Asked) -> None:
    async with open_folder(data) as reading:
        names = await reading.acts.names()
        with _damage_named(data / DATABASE_NAME):
            await _merge(reading, asked, _Writer(asked, names, reading.aliases))


@contextmanager
def _damage_named(database: Path) -> Iterator[None]:
    """Report an error that the rows themselves cause as damage: their content was not checked before."""
    try:
        yield
    except (StorageError, OSError):
        raise
    except Exception as error:
        fault = "an act cannot be read; run builderos doctor --verify for details"
        raise StorageCorrupt(f"{database}: {fault}") from error


async def _merge(reading: Reading, asked: _Asked, writer: _Writer) -> None:
    """Merge both sources, in the order of time as far as each of them is ordered."""
    rows, acts = _Ahead(_row_pages(reading)), _Ahead(_act_pages(reading, asked))
    before = await reading.audit.base()
    addresses: dict[str, str] = {}
    while True:
        row, act = await rows.peek(), await acts.peek()
        if row is not None and (act is None or row.act.at_ms <= act.row.at_ms):
            rows.take()
            writer.put(line_of_row(row, before))
            before = Mark(row.number, row.hash)
            if row.act.device_id is not None and row.act.address is not None:
                addresses[row.act.device_id] = row.act.address
        elif act is not None:
            acts.take()
            writer.put(line_of_act(act, addresses.get(act.key_id or "")))
        else:
            return


T = TypeVar("T")

NextPage = Callable[[], Awaitable[Sequence[T] | None]]
"""Returns one page after the other, None at the end."""


@attrs.define(eq=False)
class _Ahead(Generic[T]):
    """Rows read by the page, with a look at the next one."""

    _next_page: NextPage[T]
    _rows: deque[T] = attrs.field(factory=deque)
    _ended: bool = False

    async def peek(self) -> T | None:
        """Return the next row; None at the end."""
        while not self._rows and not self._ended:
            page = await self._next_page()
            if page is None:
                self._ended = True
            else:
                self._rows.extend(page)
        return self._rows[0] if self._rows else None

    def take(self) -> None:
        """Move past the row that `peek` returned."""
        self._rows.popleft()


def _row_pages(reading: Reading) -> NextPage[AuditRow]:
    after = 0

    async def next_page() -> Sequence[AuditRow] | None:
        nonlocal after
        page = await reading.audit.page(after)
        after = page[-1].number if page else after
        return page or None

    return next_page


def _act_pages(reading: Reading, asked: _Asked) -> NextPage[ActRow]:
    after: str | None = START
    session_id = None if asked.session_id is None else reading.aliases.session(asked.session_id)

    async def next_page() -> Sequence[ActRow] | None:
        nonlocal after
        if after is None:
            return None
        page, after = await reading.acts.page(after, KINDS, asked.since_ms, session_id)
        return page

    return next_page


KINDS: Final = frozenset({UserMessage.kind, Delivery.kind, PermissionResolved.kind, Interrupted.kind})
"""Kinds of journal events that may be a person's act."""


@attrs.frozen(kw_only=True)
class AuditLine:
    """One act. Fields as in the export (docs/user/security.md, "The audit"), which leaves out fields without a value.

    Attributes:
        position: its place in a journal or in the chain.
    """

    at_ms: int
    act: str
    key_id: str | None
    address: str | None
    session_id: str | None
    subject: str | None
    count: int = 1
    device: str | None = None
    position: Mapping[str, Any]


def line_of_row(row: AuditRow, before: Mark) -> AuditLine:
    """Return an audit row's line. `before`: the row before it."""
    act = row.act
    return AuditLine(
        at_ms=act.at_ms,
        act=act.act,
        key_id=act.device_id,
        address=act.address,
        session_id=act.session_id,
        subject=act.subject,
        count=act.count,
        position={"number": row.number, "before": before.hash.hex(), "hash": row.hash.hex()},
    )


def line_of_act(found: ActRow, address: str | None) -> AuditLine | None:
    """Return the line of a journal's row; None if it is not a person's act. `address`: of the key's last sign-in."""
    row = found.row
    event = decode_row(row).event
    if row.device_id is None:
        return None
    match event:
        case UserMessage():
            act, subject = "sent", event.message_id
        case Delivery(state="cancelled"):
            act, subject = "cancelled", event.message_id
        case PermissionResolved():
            act, subject = f"decided {event.decision}", event.request_id
        case Interrupted():
            act, subject = "interrupted", row.turn_id or ""
        case _:
            return None
    return AuditLine(
        at_ms=row.at_ms,
        act=act,
        key_id=found.key_id,
        address=address,
        session_id=row.session_id,
        subject=subject or None,
        device=row.device_id,
        position={"seq": row.seq},
    )


def json_line(line: AuditLine, names: Mapping[str, str]) -> bytes:
    """Return a line as JSON, with its line end."""
    fields = {
        "at": timestamp(line.at_ms),
        "at_ms": line.at_ms,
        "act": line.act,
        "device": line.device,
        "key_id": line.key_id,
        "name": names.get(line.key_id or ""),
        "address": line.address,
        "session_id": line.session_id,
        "subject": line.subject,
        "count": line.count,
        **line.position,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None}) + b"\n"


def text_line(line: AuditLine, names: Mapping[str, str]) -> str:
    """Return a line for people, with its line end."""
    actor = names.get(line.key_id or "") or line.key_id or "unknown device"
    if line.device is not None and line.device != line.key_id:
        actor += f" as {line.device}"
    parts = [timestamp(line.at_ms), line.act, actor]
    if line.address is not None:
        parts.append(f"from {line.address}")
    if line.session_id is not None:
        parts.append(f"in {line.session_id}")
    if line.subject is not None:
        parts.append(f"({names.get(line.subject, line.subject)})")
    if line.count > 1:
        parts.append(f"{line.count} times")
    return "  ".join(one_line(part) for part in parts) + "\n"


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Add the options of `audit`."""
    parser.add_argument("--session", metavar="ID", help="only what was done in this session")
    parser.add_argument("--since", metavar="TIME", help="ISO 8601 time, or an age: 30m, 24h, 7d")
    parser.add_argument("--json", action="store_true", help="JSON lines, with the chain of hashes")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    return run_audit(arguments.data, arguments.session, arguments.since, as_json=arguments.json)
