"""The backup file: a tar, so that a person can look into it, with a checksum of everything at its end.

Its members are, in order, the database, the first device's key, the uploads and the blobs. The last member holds their
number and one hash over all names and contents. A file that was cut off or changed anywhere is refused as a whole; so
is a name that this program does not use. Everything here blocks.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

import attrs
import orjson

from storage.errors import StorageCorrupt
from storage.sqlite.connection import named_os_errors

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = [
    "BARE_MARK",
    "KEY",
    "Member",
    "Proof",
    "check_archive",
    "unpack_archive",
    "write_archive",
]

KEY = "api-key"
PROOF = "backup.json"

FORMAT = "builderos-backup/1"

BARE_MARK = b"SQLite format 3\0"
"""The beginning of a bare database, which is not an archive."""

CHUNK_BYTES = 1024 * 1024

MAX_PROOF_BYTES = 64 * 1024
"""The most for the last member. Ours has about two hundred bytes; a larger one is not from this program."""

_NAME = re.compile(
    r"builderos\.db|api-key|backup\.json"
    r"|uploads/[0-9a-z]{32}_[A-Za-z0-9._-]{1,100}"
    r"|blobs/[a-z0-9_=-][a-z0-9._-]{0,200}/[0-9a-f]{64}"
)
"""The names that a member may have: a path below the data folder, and no other."""


@attrs.frozen
class Member:
    """A file to store under `name`, its path in the data folder: the first of `paths` that exists."""

    name: str
    paths: tuple[Path, ...]


@attrs.frozen
class Proof:
    """The content of the last member.

    Attributes:
        made_at: the time, ISO 8601; for a person.
        schema: the database's version.
        sessions: how many it has. `files`: members besides; `size`: bytes of all of them.
        sha256: over each member's name, size and content hash and over this hash so far, in order.
    """

    made_at: str
    schema: int
    sessions: int
    files: int
    size: int
    sha256: str
    format: str = FORMAT


@attrs.define
class _Sum:
    """The members' sum so far."""

    files: int = 0
    size: int = 0
    sha256: str = ""

    def add(self, name: str, size: int, digest: str) -> None:
        self.files += 1
        self.size += size
        self.sha256 = sha256(f"{self.sha256}\0{name}\0{size}\0{digest}".encode()).hexdigest()


def write_archive(
    target: Path, members: Iterable[Member], *, made_at: str, schema: int, sessions: int
) -> Proof:
    """Write a new file `target`, mode 0600, and fsync it. Members removed meanwhile are left out.

    Raises:
        StorageUnavailable: `target` is unusable, if it exists.
    """
    total = _Sum()
    with named_os_errors(target):
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for member in members:
                    _add(tar, member, total)
                    tar.members.clear()  # type: ignore[attr-defined]  # it would remember each of them
                proof = Proof(made_at, schema, sessions, total.files, total.size, total.sha256)
                data = orjson.dumps(attrs.asdict(proof))
                tar.addfile(_header(PROOF, len(data)), io.BytesIO(data))
            file.flush()
            os.fsync(file.fileno())
    return proof


def check_archive(file: Path) -> Proof:
    """Read the whole file and return its proof; write nothing.

    Raises:
        StorageCorrupt: it is not a backup, or it was changed since it was written.
        StorageUnavailable: it cannot be read.
    """
    return _read(file, None)


def unpack_archive(file: Path, folder: Path) -> Proof:
    """Write the members below `folder`, each fsynced; otherwise as `check_archive`."""
    return _read(file, folder)


def _add(tar: tarfile.TarFile, member: Member, total: _Sum) -> None:
    assert _NAME.fullmatch(member.name), "the server makes the names"
    content = _first(member.paths)
    if content is None:
        return  # its session was removed meanwhile
    with content:
        size = os.fstat(content.fileno()).st_size
        hashed = _Hashed(content)
        tar.addfile(_header(member.name, size), hashed)  # type: ignore[arg-type]  # it only reads
    total.add(member.name, size, hashed.digest.hexdigest())


def _first(paths: Iterable[Path]) -> IO[bytes] | None:
    for path in paths:
        try:
            return path.open("rb")
        except FileNotFoundError:
            continue
    return None


def _header(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


@attrs.define
class _Hashed:
    """A file that is hashed while it is read once."""

    file: IO[bytes]
    digest: _Hash = attrs.field(factory=sha256)

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        return data


def _read(file: Path, folder: Path | None) -> Proof:
    total, proof = _Sum(), None
    with _opened(file) as tar:
        for info in tar:
            if proof is not None or info.type != tarfile.REGTYPE or not _NAME.fullmatch(info.name):
                raise StorageCorrupt(f"{file}: this is not a backup of this program")
            content = tar.extractfile(info)
            assert content is not None, "it is a plain file"
            if info.name == PROOF:
                proof = _proof(file, content.read(MAX_PROOF_BYTES))
            else:
                total.add(
                    info.name, info.size, _take(content, None if folder is None else folder / info.name)
                )
            tar.members.clear()  # type: ignore[attr-defined]
    if proof is None:
        raise StorageCorrupt(f"{file}: the backup is incomplete: its end is missing")
    if (proof.files, proof.size, proof.sha256) != (total.files, total.size, total.sha256):
        raise StorageCorrupt(f"{file}: the backup is damaged")
    return proof


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    with named_os_errors(file):
        try:
            with tarfile.open(file, mode="r|", bufsize=CHUNK_BYTES) as tar:
                yield tar
        except (tarfile.TarError, EOFError) as error:
            raise StorageCorrupt(f"{file}: this is not a backup, or it is damaged") from error


def _take(content: IO[bytes], target: Path | None) -> str:
    """Read a member to its end, write it to `target` if given, and return its hash."""
    digest = sha256()
    if target is None:
        while data := content.read(CHUNK_BYTES):
            digest.update(data)
        return digest.hexdigest()
    with named_os_errors(target):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            while data := content.read(CHUNK_BYTES):
                digest.update(data)
                out.write(data)
            out.flush()
            os.fsync(out.fileno())
    return digest.hexdigest()


def _proof(file: Path, data: bytes) -> Proof:
    try:
        found = orjson.loads(data)
        proof = Proof(**{field.name: found[field.name] for field in attrs.fields(Proof)})
    except (ValueError, TypeError, KeyError) as error:
        raise StorageCorrupt(f"{file}: the backup is damaged") from error
    if proof.format != FORMAT:
        raise StorageCorrupt(f"{file}: this program reads {FORMAT} only")
    return proof
