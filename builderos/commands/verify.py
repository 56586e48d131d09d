"""`builderos doctor --verify`: checks all stored data of a data folder.

Prints a line to stdout for each violation, with session and seq, and some progress to stderr. It only reads, page by
page, also beside a running server. If a session seems wrong while its server writes, it is read again, and only
violations of every reading count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import trio

from actors.events.codec import decode_row
from actors.events.committed import Committed
from actors.events.conversation import Notice
from actors.events.invariants import Verifier
from actors.events.work import ToolFinished, ToolStarted
from builderos.client.terminal import one_line
from builderos.exit_status import FAILED, OK, fail
from builderos.legacy.plan import ID_PREFIX
from storage.data_folder import blob_path
from storage.errors import StorageError
from storage.read_only import Reading, open_folder
from storage.records import Row, SessionRecord

__all__ = ["run_verify", "verify"]

PAGE_ROWS = 256
"""Rows read at once; a page of a journal is also bounded in bytes."""

TRIES = 5
"""Readings of one session whose server keeps writing."""

WORD_S = 2.0
"""Time between two lines of progress."""

MAX_LINES = 1_000
"""Violations printed one by one; beyond that, one line says that there are more."""

BLOB_CHUNK = 1024 * 1024
LINE_LENGTH = 400


@attrs.frozen
class _Wrong:
    """One violation. `seq` is 0 if it does not concern an event."""

    where: str
    seq: int
    rule: str
    detail: str

    def __str__(self) -> str:
        at = f", seq {self.seq}" if self.seq else ""
        return one_line(f"{self.where}{at}: {self.rule}: {self.detail}", LINE_LENGTH)


def run_verify(data: Path) -> int:
    """Check everything; return 1 if something is wrong or cannot be read, else 0."""
    try:
        found = trio.run(verify, data, sys.stdout.write)
        sys.stdout.flush()
    except StorageError as error:
        return fail(str(error))
    return FAILED if found else OK


async def verify(data: Path, write: Callable[[str], object]) -> int:
    """Check everything; write each violation and a summary to `write`, line by line; return the number of violations.

    Raises:
        StorageError: the database does not exist, or cannot be read.
    """
    async with open_folder(data) as reading:
        checks = _Checks(data, reading, write)
        # Further checks of a data folder (for example, a chain of hashes over a record) join this row.
        for check in (checks.database, checks.sessions, checks.uploads, checks.audit):
            await check()
        checks.sum_up()
        return checks.found


@attrs.define(eq=False)
class _Checks:
    data: Path
    reading: Reading
    write: Callable[[str], object]
    found: int = 0
    session_count: int = 0
    event_count: int = 0
    blob_count: int = 0
    upload_count: int = 0
    _said_at: float = attrs.field(factory=trio.current_time)

    def tell(self, wrong: _Wrong) -> None:
        self.found += 1
        if self.found <= MAX_LINES:
            self.write(f"{wrong}\n")
        elif self.found == MAX_LINES + 1:
            self.write("further violations are not printed\n")

    def sum_up(self) -> None:
        counts = (
            f"{self.session_count} sessions, {self.event_count} events, {self.blob_count} blobs, "
            f"{self.upload_count} uploads"
        )
        verdict = f"{self.found} violations" if self.found else "everything is in order"
        self.write(f"{counts}: {verdict}\n")

    def _progress(self) -> None:
        now = trio.current_time()
        if now - self._said_at >= WORD_S:
            self._said_at = now
            sys.stderr.write(f"... {self.session_count} sessions, {self.event_count} events so far\n")
            sys.stderr.flush()

    # ---- the checks ----

    async def database(self) -> None:
        """The file as SQLite sees it, and rows without an owner."""
        survey = self.reading.survey
        for text in await survey.damage():
            self.tell(_Wrong("database", 0, "file", text))
        if (lost := await survey.lost_commits()) is not None:
            self.tell(_Wrong("database", 0, "commits", lost))
        for session_id in await survey.stray_sessions(MAX_LINES):
            self.tell(_Wrong(f"session {session_id}", 0, "stray", "it has a journal but does not exist"))
        for session_id, name in await survey.stray_uses(MAX_LINES):
            self.tell(_Wrong(f"session {session_id}", 0, "upload", f"it has {name}, which does not exist"))

    async def sessions(self) -> None:
        """Each session's journal, and the data derived from it."""
        after = ""
        while page := await self.reading.survey.sessions(after, PAGE_ROWS):
            for session_id in page:
                for wrong in await self._session(session_id):
                    self.tell(wrong)
                self.session_count += 1
                self._progress()
            after = page[-1]

    async def uploads(self) -> None:
        """Each upload's file: its size, since there is no hash of it."""
        after = ""
        while page := await self.reading.survey.uploads(after, PAGE_ROWS):
            for upload in page:
                if upload.found is None:
                    self.tell(_Wrong(f"upload {upload.name}", 0, "upload", "its file is missing"))
                elif upload.found != upload.size:
                    detail = f"its file has {upload.found} bytes, not {upload.size}"
                    self.tell(_Wrong(f"upload {upload.name}", 0, "upload", detail))
            self.upload_count += len(page)
            self._progress()
            after = page[-1].name

    async def audit(self) -> None:
        """The audit's chain of hashes, up to the end that was recorded beside the database."""
        for text in await self.reading.audit.verify():
            self.tell(_Wrong("audit", 0, "chain", text))

    async def _session(self, session_id: str) -> list[_Wrong]:
        """Read one session until it is unchanged or sound; return the violations of every reading."""
        always: list[_Wrong] | None = None
        for _ in range(TRIES):
            before = await self.reading.catalog.get(session_id)
            if before is None:
                return []
            reading = _OneSession(self, before)
            await reading.read()
            held_still = await self.reading.catalog.get(session_id) == before
            found = reading.found if held_still else reading.found_while_written
            always = found if always is None else [wrong for wrong in always if wrong in found]
            if held_still or not always:
                self.event_count += reading.rows
                self.blob_count += len(reading.blobs)
                return found if held_still else []
        return always or []


@attrs.define(eq=False)
class _OneSession:
    """One reading of one session.

    Attributes:
        found: the violations if nobody wrote meanwhile.
        found_while_written: those that a writer cannot have caused.
    """

    checks: _Checks
    record: SessionRecord
    found: list[_Wrong] = attrs.field(factory=list)
    found_while_written: list[_Wrong] = attrs.field(factory=list)
    rows: int = 0
    blobs: set[str] = attrs.field(factory=set)
    _verifier: Verifier = attrs.field(factory=lambda: Verifier(imported_prefix=ID_PREFIX))

    async def read(self) -> None:
        journal, after = self.checks.reading.journal, 0
        while rows := await journal.read(self.record.session_id, after, PAGE_ROWS):
            for row in rows:
                await self._take(row)
            after = rows[-1].seq
            self.checks._progress()
        self.found += [self._wrong(one.seq, one.rule, one.detail) for one in self._verifier.found]
        self.found_while_written += self.found
        self._check_record()
        await self._check_commands()

    async def _take(self, row: Row) -> None:
        self.rows += 1
        try:
            item = decode_row(row)
        except Exception as error:  # a damaged payload may raise any error
            self.found.append(self._wrong(row.seq, "payload", f"{row.kind} cannot be read: {error!r}"))
            stand_in = Notice("unreadable", "")
            item = Committed(row.seq, row.first_seq, row.at_ms, row.turn_id, row.device_id, stand_in)
        self._verifier.take(item)
        if isinstance(item.event, ToolStarted | ToolFinished) and isinstance(item.event.blob, dict):
            await self._check_blob(row.seq, item.event.blob)
        if isinstance(item.event, ToolFinished) and isinstance(item.event.pictures, list):
            for picture in item.event.pictures:
                await self._check_blob(row.seq, picture)

    async def _check_blob(self, seq: int, reference: dict[str, Any]) -> None:
        if self.checks.reading.owner not in (None, self.record.owner):
            return  # it is on that machine
        digest, size = str(reference.get("sha256")), reference.get("size")
        if digest in self.blobs:
            return
        self.blobs.add(digest)
        path = blob_path(self.checks.data, self.record.session_id, digest)
        found = None if path is None else await trio.to_thread.run_sync(_hash_file, path)
        if found is None:
            self.found.append(self._wrong(seq, "blob", f"{digest} is missing"))
        elif found != (size, digest):
            self.found.append(
                self._wrong(seq, "blob", f"{digest} of {size} bytes is {found[1]} of {found[0]}")
            )

    def _check_record(self) -> None:
        record, verifier, summary = self.record, self._verifier, self.record.summary
        if record.head_seq != verifier.position:
            self._note("head", f"recorded as {record.head_seq}, but the journal ends at {verifier.position}")
        if summary is None:
            if verifier.position:
                self._note("summary", "there is none")
            return
        if summary.message_count != verifier.message_count:
            self._note(
                "count", f"recorded as {summary.message_count}, but there are {verifier.message_count}"
            )
        for message_id, message in verifier.messages.items():
            if message.state == "accepted" and not message_id.startswith(ID_PREFIX):
                detail = f"{message_id} was accepted, but it neither waits nor was handed over"
                self.found.append(self._wrong(message.seq, "delivery", detail))
        waits = [message.state for message in verifier.messages.values()].count("queued")
        # Waiting messages may be for later, or held back: then the session needs no recovery.
        may_wait = summary.unfinished or verifier.open_turn is None
        if (summary.unfinished and verifier.open_turn is None and not waits) or not may_wait:
            self._note(
                "summary", f"unfinished is {summary.unfinished}, turn {verifier.open_turn}, {waits} wait"
            )

    async def _check_commands(self) -> None:
        """A session recognises a repeated message by its record of commands."""
        messages, missing, after = self._verifier.messages, set(self._verifier.messages), ""
        survey = self.checks.reading.survey
        while page := await survey.commands(self.record.session_id, after, PAGE_ROWS):
            for known in page:
                missing.discard(known.command_id)
                message = messages.get(known.command_id)
                if known.command_id.startswith(ID_PREFIX):
                    continue
                if message is None or (message.seq, message.state) != (known.seq, known.state):
                    self._note("command", f"{known.command_id} is recorded as {known.state}, at {known.seq}")
            after = page[-1].command_id
        for message_id in sorted(missing):
            self._note("command", f"{message_id} is not recorded: if sent again, it would run again")

    def _note(self, rule: str, detail: str) -> None:
        self.found.append(self._wrong(0, rule, detail))

    def _wrong(self, seq: int, rule: str, detail: str) -> _Wrong:
        return _Wrong(f"session {self.record.session_id}", seq, rule, detail)


def _hash_file(path: Path) -> tuple[int, str] | None:
    """Return a file's length and SHA-256; None if it does not exist. Blocks."""
    size, digest = 0, sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(BLOB_CHUNK):
                size += len(chunk)
                digest.update(chunk)
    except FileNotFoundError:
        return None
    return size, digest.hexdigest()
