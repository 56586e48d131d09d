"""Files of long texts: whole and on disk under their name, or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bridgehub.blobs import blob_of, keep_blob, write_blob


async def test_a_blob_is_a_file_named_by_its_hash(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "blobs"
    blob = blob_of("é".encode() * 10)
    await keep_blob(str(folder), blob)
    write_blob(str(folder), blob)
    (file,) = folder.iterdir()
    assert file.name == hashlib.sha256(blob.data).hexdigest() == blob.told()["sha256"]
    assert (file.read_bytes(), file.stat().st_size) == (blob.data, blob.told()["size"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_blob(str(tmp_path), blob_of(b"x"))
    assert list(tmp_path.iterdir()) == []
